"""`python -m bench`: all rows, or those that `--only` names."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

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
from bench.startup import ColdStart, IdleMemory
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
    "cold_start": ColdStart,
    "idle_memory": IdleMemory,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios, measured here and now.")
    parser.add_argument("--only", action="append", choices=sorted(BENCHMARKS), help="this row (repeatable)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"at least {ROUNDS}")
    parser.add_argument(
        "--remark", default="", help="what to know about the machine, such as a load beside it"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results go")
    asked = parser.parse_args(arguments)
    if asked.rounds < ROUNDS:
        parser.error(f"--rounds is at least {ROUNDS}")
    chosen = {name: make for name, make in BENCHMARKS.items() if not asked.only or name in asked.only}
    console = Console() if sys.stdout.isatty() else Console(width=160)
    run(chosen, console, asked.results, asked.rounds, asked.remark)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
