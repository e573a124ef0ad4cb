"""``python -m exporter`` is the same as ``codearts-build-exporter``."""

from exporter.cli import main

if __name__ == "__main__":
    main()
