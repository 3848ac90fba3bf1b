"""What the runtime's tests send webhooks to. `[slow N]` and `[fail]` in a prompt mean what runtime/offline.py says."""

from agno.agent import Agent
from agno.team import Team
from agno.workflow import Step, Workflow

from runtime.offline import OfflineModel

echo = Agent(id="echo", name="Echo", model=OfflineModel(latency=0.02))
pair = Team(id="pair", name="Pair", model=OfflineModel(latency=0.02), members=[echo])
steps = Workflow(id="steps", name="Steps", steps=[Step(name="one", agent=echo)])
