"""W1, and the kill of a worker, on Restate: a program for its own environment that serves two workflows.

Argument: the address to serve at, such as `fd://7` for an inherited listening socket. It imports nothing of Counterfoil.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import hypercorn
import hypercorn.asyncio
import restate
from restate import RunOptions, Workflow, WorkflowContext

STEPS = 5
UNLIMITED = 2_147_483_647
five = Workflow("Five")
calls = Workflow("Calls")


async def step(value: int) -> int:
    return value + 1


async def call(outside: int, key: str) -> str:
    """Call the outside system of the benchmark from a step."""
    reader, writer = await asyncio.open_connection("127.0.0.1", outside)
    try:
        writer.write(f"put {key}\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


@five.main()
async def run_five(context: WorkflowContext, value: int) -> int:
    for number in range(STEPS):
        value = await context.run_typed(f"step-{number}", step, value=value)
    return value


@calls.main()
async def run_calls(context: WorkflowContext, outside: int) -> int:
    options = RunOptions(initial_retry_interval=timedelta(milliseconds=50))
    for number in range(STEPS):
        await context.run_typed(
            f"call-{number}", call, options, outside=outside, key=f"{context.key()}/{number}"
        )
    return STEPS


if __name__ == "__main__":
    # Limits of the server, as in Restate's manual for production.
    config = hypercorn.Config()
    config.bind = [sys.argv[1]]
    config.h2_max_concurrent_streams = UNLIMITED
    config.keep_alive_max_requests = UNLIMITED
    config.keep_alive_timeout = UNLIMITED
    asyncio.run(hypercorn.asyncio.serve(restate.app([five, calls]), config))
