"""Where the command `greenroom` begins."""

from app.loading import loading


def main() -> None:
    """Load the command line and run it."""
    with loading():
        from app.cli import app  # noqa: PLC0415 - not before
    app()


if __name__ == "__main__":
    main()
