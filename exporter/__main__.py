"""Entry point of ``codearts-build-exporter`` and ``python -m exporter``."""

from exporter import signals_and_streams


def main() -> None:
    """Handle signals before the slow imports."""
    signals_and_streams.prepare()
    with signals_and_streams.without_garbage_collection():
        from exporter.cli import main as run
    run()


if __name__ == "__main__":
    main()
