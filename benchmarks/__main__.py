"""`python -m benchmarks NAME [--quick]`: one JSON line for each figure on stdout, then a table on stderr."""

import argparse

from benchmarks import (
    agentos,
    faults,
    freshness,
    ingest,
    metrics,
    overhead,
    pipeline,
    postgres_exporter,
    queries,
    queue,
    reconcile,
    reload,
    soak,
    storage,
    webhooks,
)
from benchmarks.figures import report

BENCHMARKS = {
    "agentos": agentos,
    "faults": faults,
    "freshness": freshness,
    "ingest": ingest,
    "metrics": metrics,
    "overhead": overhead,
    "pipeline": pipeline,
    "postgres_exporter": postgres_exporter,
    "queries": queries,
    "queue": queue,
    "reconcile": reconcile,
    "reload": reload,
    "soak": soak,
    "storage": storage,
    "webhooks": webhooks,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, module in BENCHMARKS.items():
        command = names.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        command.add_argument("--quick", action="store_true", help="seconds instead of minutes; for a first look")
        module.add_arguments(command)
    arguments = parser.parse_args()
    report(BENCHMARKS[arguments.name].run(arguments))


if __name__ == "__main__":
    main()
