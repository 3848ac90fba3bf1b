"""`python -m dashboards.source`: everything that is generated, out of the code here. Part of `make generate`."""

from pathlib import Path

from dashboards.source import agent, alerting, boards, fleet, models, pipeline, run, storage, tools

HERE = Path(__file__).parents[1]
BOARDS = (fleet, agent, pipeline, models, tools, run, storage)


def files() -> dict[Path, str]:
    """Texts by path, relative to dashboards/."""
    made = {}
    for module in BOARDS:
        dashboard = module.dashboard()
        made[Path("grafana") / "dashboards" / f"{dashboard.uid}.json"] = boards.text(dashboard)
    return made | alerting.files()


if __name__ == "__main__":
    for path, text in files().items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_text(text)
        print(f"dashboards/{path}")
