"""Entry point of ``codearts-build-exporter`` and ``python -m exporter``."""

from exporter import process_setup


def main() -> None:
    """Handle signals before the slow imports."""
    process_setup.prepare()
    with process_setup.without_garbage_collection():
        from exporter.cli import main as run
    run()


if __name__ == "__main__":
    main()
