"""The command `stack`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from stack.backup import backup, restore
from stack.demo import demo
from stack.doctor import examine, render
from stack.errors import StackError
from stack.foreground import Foreground
from stack.home import Home
from stack.replay import replay
from stack.services import SERVICES
from stack.status import Status
from stack.supervision import Supervisor
from stack.verify import verify

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""The agent telemetry stack as processes of this machine: no Docker, no root.

    PostgreSQL, ClickHouse, an OpenTelemetry Collector, Phoenix, the agent
    runtime and the dashboards, under one supervisor, with all their data in one directory
    (STACK_HOME, ./.stack unless set).

    [bold]Start here:[/]  stack up --sample
    """,
)
console = Console(width=None if sys.stdout.isatty() else 160)  # a pipe has no width; 80 would cut paths


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can act on is said in words, with the next step; exit code 1."""
    try:
        yield
    except StackError as error:
        complain("[bold red]Error:[/]", str(error))
        if error.hint:
            complain("[bold]Next step:[/]", error.hint)
        raise typer.Exit(1) from error
    except OSError as error:  # a full disk, a directory of somebody else
        complain("[bold red]Error:[/]", str(error))
        raise typer.Exit(1) from error


def complain(heading: str, text: str) -> None:
    Console(stderr=True).print(heading, escape(text), highlight=False, soft_wrap=True)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Give the prompt back once everything is ready.")] = False,
    timings: Annotated[
        bool, typer.Option("--timings", help="Print seconds to ready and resident memory per service.")
    ] = False,
    sample: Annotated[
        bool, typer.Option("--sample", help="Send ten seconds of sample work, then check every store.")
    ] = False,
    no_phoenix: Annotated[bool, typer.Option("--no-phoenix", help="Leave Phoenix out: 500 MB less.")] = False,
) -> None:
    """Start everything, show progress, and stay in the foreground until Ctrl-C.

    The first time the collector is built from source, which takes minutes; the others start meanwhile.
    A port that is taken is replaced by a free one unless you set it (STACK_POSTGRES_PORT and so on).

    Example:  stack up --sample --timings
    Example:  STACK_RUNTIME_PORT=8080 stack up --detach
    """
    with plain_errors():
        home = Home.open()
        code = Foreground(home, console).up(
            detach=detach, timings=timings, sample=sample, phoenix=home.settings.phoenix and not no_phoenix
        )
    raise typer.Exit(code)


@app.command()
def down() -> None:
    """Stop everything, in the reverse order of the start. The data stays.

    Example:  stack down
    """
    with plain_errors():
        Foreground(Home.open(), console).down()


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Say what runs, whether it is healthy, its memory and where it listens.

    Exit code 0: everything is healthy; 1: something is not; 3: the stack is not running.

    Example:  stack status --json | jq '.services[] | select(.healthy | not)'
    """
    with plain_errors():
        current = Status.read(Home.open())
        if as_json:
            print(json.dumps(current.as_dict(), indent=2))
        else:
            current.render(console)
    if not current.running:
        raise typer.Exit(3)
    raise typer.Exit(0 if all(line.healthy for line in current.services) else 1)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="One of " + ", ".join(SERVICES) + "; none: all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """Show what the services wrote.

    Example:  stack logs runtime -f
    """
    with plain_errors():
        directory = Home.open().logs
        known = sorted(path.stem for path in directory.glob("*.log"))
        if service and service not in known:
            raise StackError(f"there is no log of {service!r}", f"there is: {', '.join(known) or 'none yet'}")
        files = [str(directory / f"{name}.log") for name in ([service] if service else known)]
        if not files:
            raise StackError("nothing has been written yet", "stack up")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *files]
    try:
        code = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        code = 0
    raise typer.Exit(code)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop everything and delete all data, secrets and logs. The built collector stays in its cache.

    Example:  stack reset --yes
    """
    with plain_errors():
        home = Home.open()
        if not yes:
            typer.confirm(f"Delete {home.path} with all traces, runs and secrets?", abort=True)
        if Supervisor(home).running():
            Foreground(home, console).down()
        shutil.rmtree(home.path)
        console.print(f"Deleted {home.path}", highlight=False)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Examine this machine: platform, disk, ports, programs, permissions; each problem with the next step.

    Example:  stack doctor
    """
    with plain_errors():
        findings = examine()
    if as_json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        render(findings, console)
    raise typer.Exit(0 if all(finding.good for finding in findings) else 1)


app.command()(backup)
app.command()(restore)
# after the commands that keep the stack, those that use it
app.command()(demo)
app.command()(replay)
app.command()(verify)


if __name__ == "__main__":
    sys.exit(app())
