"""Starting the processes: the server, a worker beside it, the demonstration company, a vendor's twin."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.cli.client import CommandFailed
from counterfoil.cli.output import complain
from counterfoil.core.errors import CounterfoilError

HOME = Path(".counterfoil")
Folder = Annotated[Path, typer.Argument(help="The governance folder.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
StoreOption = Annotated[
    str, typer.Option("--store", help="sqlite:PATH or postgresql://...", envvar="COUNTERFOIL_STORE")
]
EnvironmentOption = Annotated[
    str,
    typer.Option(
        "--environment", help="The environment whose overlays count.", envvar="COUNTERFOIL_ENVIRONMENT"
    ),
]
POSTGRES = ("postgresql://", "postgres://")
_SQLITE = "sqlite:.counterfoil/counterfoil.db"


def up(
    dir: Folder = Path("."),
    store: StoreOption = _SQLITE,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="0: doors and pages only; more than 1 needs PostgreSQL.")
    ] = 1,
    port: Port = 8080,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    environment: EnvironmentOption = "",
) -> None:
    """Run the server, and its worker, over a governance folder until Ctrl-C."""
    if not dir.is_dir():
        raise CommandFailed(f"{dir} is no folder.")
    if workers > 1 and not store.startswith(POSTGRES):
        raise CommandFailed("one process owns an SQLite store: use --workers 1, or a postgresql:// store.")
    _choose(environment)
    HOME.mkdir(mode=0o700, exist_ok=True)
    complain(f"Counterfoil on http://{host}:{port}")
    from counterfoil.serving import serve
    from counterfoil.web.http.server import build, config

    with _workers(workers - 1, dir, store):
        _end(lambda: serve(dir, store, host, port, workers, lambda app, h, p: config(build(app), h, p)))


@contextlib.contextmanager
def _workers(count: int, dir: Path, store: str) -> Iterator[None]:
    """So many more workers as processes of their own, which end with this one."""
    command = [sys.executable, "-m", "counterfoil.cli.main", "worker", str(dir), "--store", store]
    started = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_named(number))  # noqa: S603 - our own program
        for number in range(2, count + 2)
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def _choose(environment: str) -> None:
    """This process and those that it starts read folders for one environment."""
    os.environ["COUNTERFOIL_ENVIRONMENT"] = environment


def _named(number: int) -> dict[str, str]:
    """The environment, in which no two workers have one name: who has it takes itself for the other's next life."""
    name = os.environ.get("COUNTERFOIL_WORKER")
    return {**os.environ, **({"COUNTERFOIL_WORKER": f"{name}-{number}"} if name else {})}


def worker(
    dir: Folder = Path("."), store: StoreOption = _SQLITE, environment: EnvironmentOption = ""
) -> None:
    """Run one more worker on the same PostgreSQL."""
    from counterfoil.serving import work

    _choose(environment)
    _end(lambda: work(dir, store))


def demo(
    dir: Annotated[Path | None, typer.Argument(help="Where the company keeps its files.")] = None,
    port: Port = 8080,
) -> None:
    """Run the demonstration company on real systems."""
    from counterfoil.demo.company import main

    _end(lambda: main(dir, port))


def twins() -> list[str]:
    """The vendors that have a twin."""
    package = import_module("counterfoil.twins")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg)


def twin(
    name: Annotated[str, typer.Argument(help="Which vendor; a wrong name lists them.")],
    port: Port = 12111,
    state: Annotated[Path | None, typer.Option(help="The file that keeps its world.")] = None,
) -> None:
    """Run a double of a vendor's API, to try governance without an account."""
    if name not in twins():
        raise CommandFailed(f"there is no twin {name}; there are: {', '.join(twins())}.")
    if state is None:
        HOME.mkdir(mode=0o700, exist_ok=True)
        state = HOME / f"twin-{name}.db"
    main: Callable[[list[str]], int] = import_module(f"counterfoil.twins.{name}").main
    _end(lambda: main(["--port", str(port), "--state", str(state)]))


def _end(run: Callable[[], int]) -> None:
    """Run to the end and exit with its code; what a person must change is a line, not a traceback."""
    try:
        code = run()
    except CounterfoilError as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        code = 0
    except OSError as error:
        raise CommandFailed(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error
    raise typer.Exit(code)


COMMANDS: list[Callable[..., None]] = [up, worker, demo, twin]
