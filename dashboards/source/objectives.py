"""The objectives that people declare in dashboards/objectives.toml, checked."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

FILE = Path(__file__).parents[1] / "objectives.toml"
HOUR = 3600

Seconds = Annotated[float, Field(gt=0, le=24 * HOUR)]


class InvalidObjectives(ValueError):
    """The file cannot be used; the text names each key that is wrong, and says why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Agent(_Part):
    """Of one agent, team or workflow. Durations in seconds."""

    duration_p95: Seconds
    error_rate: float = Field(gt=0, lt=1)
    queue_wait_p95: Seconds
    cost_per_day: float = Field(gt=0, description="US dollars")
    stuck_after: float = Field(ge=60, le=12 * HOUR)
    approval_wait: float = Field(ge=60, le=7 * 24 * HOUR)


class Stack(_Part):
    """In seconds."""

    queue_age: Seconds
    silence: float = Field(ge=90, le=HOUR, description="Three exports at least: metrics are sent every 30 s.")


class Links(_Part):
    dashboards: str
    runbook: str

    @field_validator("*")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s{}$\"'<>]+", value):
            raise ValueError("is no address: write https://...")
        return value


class Objectives(_Part):
    defaults: Agent
    agents: Mapping[str, Agent] = {}
    stack: Stack
    links: Links

    @field_validator("agents")
    @classmethod
    def _are_ids(cls, agents: Mapping[str, Agent]) -> Mapping[str, Agent]:
        for name in agents:
            if not re.fullmatch(r"[\w:. -]+", name, re.ASCII):
                raise ValueError(f"{name!r} is no agent's id: letters, digits and _ : . - only")
        return agents

    def all_agents(self) -> list[Agent]:
        """The default, and those that differ from it."""
        return [self.defaults, *self.agents.values()]

    def differing(self, key: str) -> dict[str, float]:
        """The agents whose objective `key` is not the default one, in the order of their ids."""
        default = getattr(self.defaults, key)
        values = {name: float(getattr(agent, key)) for name, agent in sorted(self.agents.items())}
        return {name: value for name, value in values.items() if value != default}


def load(path: Path = FILE) -> Objectives:
    """Raises InvalidObjectives, OSError."""
    return parse(path.read_text(encoding="utf-8"), path.name)


def parse(text: str, name: str = FILE.name) -> Objectives:
    """What an agent leaves out is taken from the defaults. Raises InvalidObjectives."""
    try:
        given: dict[str, Any] = tomllib.loads(text)
        defaults, agents = given.get("defaults"), given.get("agents")
        if isinstance(defaults, dict) and isinstance(agents, dict):
            given["agents"] = {
                agent: {**defaults, **own} if isinstance(own, dict) else own for agent, own in agents.items()
            }
        return Objectives.model_validate(given)
    except tomllib.TOMLDecodeError as error:
        raise InvalidObjectives(f"{name}: {error}") from error
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InvalidObjectives(f"{name}: {'; '.join(wrong)}") from error
