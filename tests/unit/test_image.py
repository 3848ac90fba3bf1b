"""The Dockerfile, and the scripts that containers begin with. What the image holds: integration/test_compose.py."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.process import PROJECT
from tests.validators.tools import HADOLINT

DOCKERFILE = PROJECT / "Dockerfile"
DEPLOY = PROJECT / "deploy"


def test_hadolint_has_nothing_to_say() -> None:
    done = HADOLINT.run("--failure-threshold=info", str(DOCKERFILE))
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_mistakes(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN sudo id\nRUN pip install uv\n")
    said = HADOLINT.run(str(tmp_path / "Dockerfile")).stdout
    assert all(rule in said for rule in ("DL3007", "DL3004", "DL3013"))


def test_the_image_is_confined() -> None:
    """As its last stage has it."""
    text = DOCKERFILE.read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["61000:61000"]
    assert "HEALTHCHECK" in last
    assert not re.search(r"^ADD |^ARG ", text, re.MULTILINE)
    assert not re.search(r"^ENV .*(PASSWORD|SECRET|TOKEN|_KEY)", text, re.MULTILINE)
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(set(bases)) == 1, "an interpreter is not where the environment was made for it"
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+", bases[0])


def test_the_makefile_and_the_image_have_the_same_uv() -> None:
    (makefile,) = re.findall(r"^UV_VERSION := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert f" uv=={makefile}\n" in DOCKERFILE.read_text()


def test_what_is_copied_reaches_the_engine_and_nothing_else() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
        for name in line.split()
    }
    allowed = set(re.findall(r"^!(.*)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == allowed and all((PROJECT / name).exists() for name in copied)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With a directory of secrets."""
    (tmp_path / "grafana_webhook_secret").write_text('it\'s $a "secret"')
    (tmp_path / "clickhouse_password").write_text("writes")
    (tmp_path / "clickhouse_readonly_password").write_text("reads\n")
    return {**os.environ, "SECRETS_DIR": str(tmp_path)}


def test_a_program_gets_its_secrets_as_variables(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['GRAFANA_WEBHOOK_SECRET'])"]
    script = ["sh", str(DEPLOY / "with-secrets.sh"), *command]
    assert subprocess.check_output(script, env=environment, text=True) == 'it\'s $a "secret"\n'


def test_a_module_gets_its_secrets_as_variables(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "shows.py").write_text(
        "import os, sys\nprint(os.environ['GRAFANA_WEBHOOK_SECRET'], sys.argv[1:], __name__)"
    )
    command = [sys.executable, str(DEPLOY / "with-secrets.py"), "shows", "serve"]
    said = subprocess.check_output(command, env={**environment, "PYTHONPATH": str(tmp_path)}, text=True)
    assert said == "it's $a \"secret\" ['serve'] __main__\n"


def test_clickhouse_gets_the_hashes_of_its_passwords(environment: dict[str, str]) -> None:
    command = ["sh", str(DEPLOY / "clickhouse" / "start.sh"), "env"]
    lines = subprocess.check_output(command, env=environment, text=True).splitlines()
    found = dict(line.split("=", 1) for line in lines if line.startswith("CLICKHOUSE_"))
    assert found["CLICKHOUSE_PASSWORD_SHA256"] == hashlib.sha256(b"writes").hexdigest()
    assert found["CLICKHOUSE_READONLY_PASSWORD_SHA256"] == hashlib.sha256(b"reads").hexdigest()


def test_without_its_secrets_clickhouse_does_not_start(environment: dict[str, str], tmp_path: Path) -> None:
    """An empty password would let everybody in."""
    command = ["sh", str(DEPLOY / "clickhouse" / "start.sh"), "echo", "started"]
    (tmp_path / "clickhouse_password").write_text("\n")
    empty = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (tmp_path / "clickhouse_password").unlink()
    missing = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for done in (empty, missing):
        assert done.returncode != 0 and done.stdout == "" and "clickhouse_password" in done.stderr
