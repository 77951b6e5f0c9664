"""Runs a program that never outlives its starter.

`python -m counterfoil.demo.leash FD MODULE ARGUMENTS...`: FD is the read end of a pipe. Only the starter has the write
end. When the pipe closes, for whatever reason, the program's whole process group is terminated. A separate process
watches the pipe, because a second thread could disturb the program.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time

GRACE_SECONDS = 8.0
"""Time between SIGTERM and SIGKILL."""


def _watch(pipe: int, program: int) -> None:
    while os.read(pipe, 64):
        continue  # the starter never writes; only the closing of the pipe matters
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(program, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while os.getppid() == program and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(program, signal.SIGKILL)


def main() -> None:
    pipe, module, *arguments = sys.argv[1:]
    program = os.getpid()
    if os.getpgrp() != program:
        raise SystemExit("the program must lead its own process group: start it in a new session")
    if os.fork() == 0:
        _watch(int(pipe), program)
    os.close(int(pipe))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
