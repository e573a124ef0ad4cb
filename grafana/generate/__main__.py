"""Write the dashboards next to this package."""

from pathlib import Path

from grafana.generate import DASHBOARDS, rendered

if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "dashboards"
    for name in DASHBOARDS:
        (folder / f"{name}.json").write_text(rendered(name), encoding="utf-8")
