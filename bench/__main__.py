"""`python -m bench`: run all rows, or the rows named by `--only`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from bench.books import ReconcileVsDatacompy, ReconcileVsJoin
from bench.contracts import ContractVsParse
from bench.durable import W1VsDbos, W1VsRestate
from bench.expressions import Guard, InvoiceMapping
from bench.harness import RESULTS, ROUNDS, run
from bench.impact import ImpactEvents
from bench.killed import TwoWorkersOneKilled
from bench.latency import LatencyAdded
from bench.parked import WakeParked
from bench.path import GovernedOverhead, W1Limit
from bench.proof import ProveTenSteps
from bench.startup import ColdStart, CommandStart, IdleMemory
from bench.usage import UsagePostgres, UsageSqlite

BENCHMARKS = {
    "guard": Guard,
    "mapping": InvoiceMapping,
    "w1_vs_dbos": W1VsDbos,
    "w1_vs_restate": W1VsRestate,
    "w1_vs_limit": W1Limit,
    "wake_parked_p99": WakeParked,
    "latency_added_p99": LatencyAdded,
    "governed_overhead": GovernedOverhead,
    "usage_vs_limit": UsageSqlite,
    "usage_vs_limit_postgres": UsagePostgres,
    "two_workers_one_killed": TwoWorkersOneKilled,
    "contract_vs_parse": ContractVsParse,
    "impact_events": ImpactEvents,
    "prove": ProveTenSteps,
    "reconcile_vs_join": ReconcileVsJoin,
    "reconcile_vs_datacompy": ReconcileVsDatacompy,
    "cold_start": ColdStart,
    "command_version": lambda: CommandStart("--version", 0.2),
    "command_help": lambda: CommandStart("--help", 0.2),
    "command_runs": lambda: CommandStart("runs", 0.4),
    "idle_memory": IdleMemory,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the benchmark rows on this machine."
    )
    parser.add_argument(
        "--only", action="append", choices=sorted(BENCHMARKS), help="run this row only (repeatable)"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds, at least {ROUNDS}")
    parser.add_argument("--remark", default="", help="a remark on the machine, such as other load on it")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file for the results")
    options = parser.parse_args(arguments)
    if options.rounds < ROUNDS:
        parser.error(f"--rounds must be at least {ROUNDS}")
    selected = {name: make for name, make in BENCHMARKS.items() if not options.only or name in options.only}
    console = Console() if sys.stdout.isatty() else Console(width=160)
    run(selected, console, options.results, options.rounds, options.remark)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
