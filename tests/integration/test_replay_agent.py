"""The recorded conversations through the replay agent, with its sessions in Postgres."""

import asyncio
import runpy
from pathlib import Path

from agno.agent import Agent
from agno.db.postgres import PostgresDb

from stack.runs import Runs
from stack.trajectories import Conversation, counts, read
from tests import trajectories

FILE = Path(__file__).parents[2] / "agents" / "replay.py"


def test_postgres_holds_what_was_recorded(postgres: str, tmp_path: Path) -> None:
    agent: Agent = runpy.run_path(str(FILE))["replay"]
    database = PostgresDb(db_url=postgres.replace("postgresql:", "postgresql+psycopg:"), db_schema="agno")
    agent.db, agent.telemetry = database, False
    conversations = read(trajectories.file(tmp_path))
    run_ids: list[str] = []

    async def play(number: int, conversation: Conversation) -> None:
        for turn in conversation.turns:
            recording = {"system": conversation.system, "messages": turn.recording, "speed": 0}
            run = await agent.arun(turn.input, session_id=f"session-{number}", metadata={"replay": recording})
            run_ids.append(str(run.run_id))

    async def play_all() -> None:
        await asyncio.gather(*(play(number, conversation) for number, conversation in enumerate(conversations)))

    asyncio.run(play_all())
    runs = Runs(postgres)
    found = runs.calls(run_ids)
    runs.close()
    database.close()
    expected = counts(conversations)
    assert len(set(run_ids)) == found.runs == expected.runs
    assert found.model_calls == expected.model_calls
    assert found.tool_calls == expected.tool_calls
    assert found.tool_errors == expected.tool_errors > 0
