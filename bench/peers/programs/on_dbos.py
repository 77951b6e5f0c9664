"""W1, and the kill of an executor, on DBOS: a program for its own environment that takes orders line by line.

Arguments: the address of the system database and the executor's id. Each line of standard input is a JSON order; each
line of standard output is its answer. It imports nothing of Counterfoil.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID

STEPS = 5


@DBOS.step()
async def step(value: int) -> int:
    return value + 1


@DBOS.workflow()
async def five_steps(value: int) -> int:
    for _ in range(STEPS):
        value = await step(value)
    return value


@DBOS.step()
async def slow_step(outside: int, key: str) -> str:
    """Call the outside system of the benchmark from a step."""
    reader, writer = await asyncio.open_connection("127.0.0.1", outside)
    try:
        writer.write(f"put {key}\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


@DBOS.workflow()
async def five_calls(outside: int) -> int:
    for number in range(STEPS):
        await slow_step(outside, f"{DBOS.workflow_id}/{number}")
    return STEPS


async def run(runs: int, at_once: int, tag: str, wait: bool) -> dict[str, Any]:
    """Run this number of workflows, each started under its own id by one of `at_once` clients.

    If `wait` is true, a client waits for the result before its next start; otherwise the results are read at the end.
    """
    numbers = iter(range(runs))
    handles: list[Any] = []

    async def check(number: int, handle: Any) -> None:
        if await handle.get_result() != number + STEPS:
            raise RuntimeError(f"{tag}-{number} did not execute all steps")

    async def client() -> None:
        for number in numbers:
            with SetWorkflowID(f"{tag}-{number}"):
                handle = await DBOS.start_workflow_async(five_steps, number)
            if wait:
                await check(number, handle)
            else:
                handles.append((number, handle))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    await asyncio.gather(*(check(number, handle) for number, handle in handles))
    return {"seconds": time.perf_counter() - began}


async def start(runs: int, outside: int, tag: str) -> dict[str, Any]:
    """Start workflows without waiting for their end; return when all are durable."""

    async def one(number: int) -> None:
        with SetWorkflowID(f"{tag}-{number}"):
            await DBOS.start_workflow_async(five_calls, outside)

    await asyncio.gather(*(one(number) for number in range(runs)))
    return {"started": runs}


async def main() -> None:
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        work = {"run": run, "start": start}[order.pop("do")]
        print(json.dumps(await work(**order)), flush=True)


if __name__ == "__main__":
    config: DBOSConfig = {
        "name": "five-steps",
        "system_database_url": sys.argv[1],
        "executor_id": sys.argv[2],
        "application_version": "1",
        "log_level": "ERROR",
        "run_admin_server": False,
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        asyncio.run(main())
    finally:
        DBOS.destroy()
