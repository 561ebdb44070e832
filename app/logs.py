"""How the log reads: one line per fact, its details as `key=value`."""

import logging

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        details = {name: value for name, value in vars(record).items() if name not in _OWN}
        head, *rest = line.split("\n", 1)
        pairs = "".join(f" {name}={value}" for name, value in details.items())
        return "\n".join((head + pairs, *rest))


def configure_logging(level: str) -> None:
    """Write to standard error from this level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpclib").setLevel(max(logging.WARNING, logging.getLogger().level))
    # It says for each start and stop what we say ourselves.
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))
