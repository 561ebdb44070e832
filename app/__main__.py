"""Where the command `greenroom` begins."""

import gc


def main() -> None:
    """Load the command line and run it."""
    # All that is loaded stays: to look for garbage meanwhile takes nearly half of a start, and a
    # server need not look through it again and again later.
    gc.disable()
    from app.cli import app  # noqa: PLC0415 - not before

    gc.freeze()
    gc.enable()
    app()


if __name__ == "__main__":
    main()
