"""What the routes work with."""

from collections.abc import Mapping
from dataclasses import dataclass

from dashboards.viewer.boards import Board
from dashboards.viewer.evaluation import Evaluation
from dashboards.viewer.files import Files
from dashboards.viewer.history import History
from dashboards.viewer.links import Links
from dashboards.viewer.problems import Problem
from dashboards.viewer.queries import ClickHouse
from dashboards.viewer.settings import Settings


@dataclass(frozen=True)
class Context:
    settings: Settings
    boards: Mapping[str, Board]
    files: Files
    clickhouse: ClickHouse
    history: History
    evaluation: Evaluation
    links: Links

    @property
    def constants(self) -> dict[str, str]:
        """Of the boards' constant variables."""
        return {"phoenix_url": self.settings.phoenix_url or "", "runtime_url": self.settings.runtime_url or ""}

    def board(self, uid: str) -> Board:
        """Raises a Problem (404)."""
        if uid not in self.boards:
            raise Problem(404, f"there is no dashboard {uid[:60]!r}", known=list(self.boards))
        return self.boards[uid]
