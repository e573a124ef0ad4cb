"""``python -m benchmarks [NAME…]``: run those benchmarks, or all of them."""

import sys
from importlib import import_module
from pkgutil import walk_packages

import benchmarks


def names() -> list[str]:
    """Return the names of the benchmarks: modules with a function ``main``."""
    found = sorted(module.name for module in walk_packages(benchmarks.__path__, "benchmarks."))
    return [name for name in found if name != __name__ and hasattr(import_module(name), "main")]


for name in sys.argv[1:] or names():
    print(f"\n{name.removeprefix('benchmarks.')}", flush=True)
    import_module(name if name.startswith("benchmarks.") else f"benchmarks.{name}").main()
