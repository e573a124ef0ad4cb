"""Write the generated pages."""

from pathlib import Path

from tools.reference import written

if __name__ == "__main__":
    root = Path(__file__).parents[2]
    for name, text in written().items():
        (root / name).write_text(text, encoding="utf-8")
