"""Entry point of ``codearts-build-exporter`` and ``python -m exporter``."""

from exporter import startup


def main() -> None:
    """Handle signals before the slow imports."""
    startup.prepare()
    with startup.without_garbage_collection():
        from exporter.cli import main as run
    run()


if __name__ == "__main__":
    main()
