"""Entry point of ``codearts-build-exporter`` and ``python -m exporter``."""

import gc

from exporter import startup


def main() -> None:
    """Handle signals first, then import the rest, which takes half a second, and run.

    Without garbage collection the imports, which leave no garbage, take a tenth less.
    """
    startup.prepare()
    gc.disable()
    from exporter.cli import main as run

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
