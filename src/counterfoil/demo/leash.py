"""Runs a program that never outlives the one that started it.

`python -m counterfoil.demo.leash FD MODULE ARGUMENTS...`: FD is the reading end of a pipe whose writing end the
starter alone holds. When it closes, however the starter ended, this process and all of its group are told to end.
A process of its own watches, because a program may not bear a second thread.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time

GRACE = 8.0
"""Seconds between being told to end and being ended."""


def _watch(pipe: int, program: int) -> None:
    while os.read(pipe, 64):
        continue  # nothing is ever written; only the end counts
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(program, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while os.getppid() == program and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(program, signal.SIGKILL)


def main() -> None:
    pipe, module, *arguments = sys.argv[1:]
    program = os.getpid()
    if os.getpgrp() != program:
        raise SystemExit("a leashed program leads a process group of its own: start it in a new session")
    if os.fork() == 0:
        _watch(int(pipe), program)
    os.close(int(pipe))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
