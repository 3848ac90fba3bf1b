"""Every attribute and span name that we write. The GenAI conventions are in development: rename here, nowhere else.

Sources: OpenTelemetry GenAI semantic conventions, OpenInference semantic conventions (read by Phoenix and by AgentOS).
"""

from typing import Final

# OpenTelemetry GenAI
OPERATION_NAME: Final = "gen_ai.operation.name"
AGENT_ID: Final = "gen_ai.agent.id"
AGENT_NAME: Final = "gen_ai.agent.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_TYPE: Final = "gen_ai.tool.type"
ERROR_TYPE: Final = "error.type"

# values of gen_ai.operation.name
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
RETRIEVAL: Final = "retrieval"
UPSERT_MEMORY: Final = "upsert_memory"

# OpenInference
SPAN_KIND: Final = "openinference.span.kind"  # AGENT, CHAIN, LLM, TOOL, RETRIEVER
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
INPUT_VALUE: Final = "input.value"
OUTPUT_VALUE: Final = "output.value"
LLM_MODEL_NAME: Final = "llm.model_name"
LLM_PROVIDER: Final = "llm.provider"
LLM_INPUT_MESSAGES: Final = "llm.input_messages"
LLM_OUTPUT_MESSAGES: Final = "llm.output_messages"
LLM_PROMPT_TOKENS: Final = "llm.token_count.prompt"
LLM_COMPLETION_TOKENS: Final = "llm.token_count.completion"
LLM_TOTAL_TOKENS: Final = "llm.token_count.total"
LLM_CACHE_READ_TOKENS: Final = "llm.token_count.prompt_details.cache_read"
LLM_CACHE_WRITE_TOKENS: Final = "llm.token_count.prompt_details.cache_write"
LLM_REASONING_TOKENS: Final = "llm.token_count.completion_details.reasoning"
LLM_PARAMETERS: Final = "llm.invocation_parameters"
LLM_TOOLS: Final = "llm.tools"
COST: Final = "llm.cost.total"  # US dollars; left out when it is not known
RETRIEVAL_DOCUMENTS: Final = "retrieval.documents"
OPENINFERENCE_AGENT_NAME: Final = "agent.name"
OPENINFERENCE_TOOL_NAME: Final = "tool.name"
TOOL_DESCRIPTION: Final = "tool.description"
TOOL_PARAMETERS: Final = "tool.parameters"
TEXT: Final = "text/plain"
JSON: Final = "application/json"
PROJECT_NAME: Final = "openinference.project.name"  # a resource attribute; Phoenix sorts spans by it

# ours
RUN_ID: Final = "agno.run.id"
RUN_KIND: Final = "agno.run.kind"  # agent, team, workflow
RUN_STATUS: Final = "agno.run.status"  # completed, error, cancelled, paused
RUN_ATTEMPT: Final = "agno.run.attempt"
RUN_COST: Final = "agno.run.cost"  # US dollars: of all its calls. Under COST, Phoenix would count it with theirs
RETRY_DELAY: Final = "agno.retry.delay"  # seconds
PARENT_RUN_ID: Final = "agno.run.parent_id"  # a team member's or workflow step's run names the run that it is part of
DELIVERY_ID: Final = "agno.delivery.id"
DELIVERY_SOURCE: Final = "agno.delivery.source"
RUN_TRACE_ID: Final = "agno.run.trace_id"  # on a duplicate's span: the trace that the run is in
DEDUP_DECISION: Final = "agno.dedup.decision"
QUEUE_WAIT: Final = "agno.queue.wait"  # seconds
APPROVAL_ID: Final = "agno.approval.id"
APPROVAL_DECISION: Final = "agno.approval.decision"  # approved, rejected, expired
CUT_BYTES: Final = "agno.content.cut_bytes"  # bytes of texts that were left out, since the span was too large

# The key in a ticket's run metadata under which the webhook's context travels to the run:
# {"traceparent", "tracestate", "delivery_id", "source", "accepted_at" (Unix seconds), "attempt", "wait" (seconds)}
TICKET_CONTEXT: Final = "telemetry"
