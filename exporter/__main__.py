"""The entry of ``codearts-build-exporter`` and ``python -m exporter``."""

from exporter import startup


def main() -> None:
    """Handle signals from the first moment, then import the rest, which takes half a second, and run."""
    startup.prepare()
    from exporter.cli import main as run

    run()


if __name__ == "__main__":
    main()
