# The runtime: servers, workers and migrations. docs/compose.md says what it needs.

FROM python:3.13.14-slim-trixie AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.8
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache uv sync --locked --no-default-groups --no-install-project
COPY runtime runtime
COPY telemetry telemetry
RUN python -m compileall -q runtime telemetry

FROM python:3.13.14-slim-trixie
RUN groupadd --gid 61000 agents \
    && useradd --uid 61000 --gid 61000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin agents
WORKDIR /app
COPY --from=build /app /app
COPY agents agents
COPY LICENSE ./
# What is not on loopback wants OS_SECURITY_KEY, and says so. /tmp is the only place that is written to.
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    AGNO_TELEMETRY=false \
    RUNTIME_HOST=0.0.0.0
USER 61000:61000
EXPOSE 7777
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('RUNTIME_PORT', '7777') + '/health', timeout=4)"]
CMD ["python", "-m", "runtime", "serve"]
