"""Commands that start processes: the server, an extra worker, the demonstration company, a vendor's twin."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from counterfoil.cli.client import require_folder
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import complain
from counterfoil.cli.server_address import published
from counterfoil.core.errors import CounterfoilError

if TYPE_CHECKING:
    import uvicorn

    from counterfoil.application import Application

HOME = Path(".counterfoil")
Folder = Annotated[Path, typer.Argument(help="The governance folder.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 selects a free one.")]
StoreOption = Annotated[
    str, typer.Option("--store", help="sqlite:PATH or postgresql://...", envvar="COUNTERFOIL_STORE")
]
EnvironmentOption = Annotated[
    str,
    typer.Option(
        "--environment", help="The environment whose overlays apply.", envvar="COUNTERFOIL_ENVIRONMENT"
    ),
]
POSTGRES = ("postgresql://", "postgres://")
SQLITE_STORE = "sqlite:.counterfoil/counterfoil.db"


def up(
    dir: Folder = Path("."),
    store: StoreOption = SQLITE_STORE,
    workers: Annotated[
        int,
        typer.Option(
            min=0, max=64, help="Number of workers; 0: API and pages only; above 1: PostgreSQL only."
        ),
    ] = 1,
    port: Port = 8080,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    environment: EnvironmentOption = "",
) -> None:
    """Run the server and worker until Ctrl-C."""
    require_folder(dir)
    if workers > 1 and not store.startswith(POSTGRES):
        raise CommandFailed(
            "an SQLite store serves a single process: use --workers 1 or a postgresql:// store."
        )
    _set_environment(environment)
    HOME.mkdir(mode=0o700, exist_ok=True)
    from counterfoil.serving import serve
    from counterfoil.web.http.connections import ConnectionLimits
    from counterfoil.web.http.proxies import public_address
    from counterfoil.web.http.server import build, config, listen

    try:
        public = public_address(os.environ)
    except CounterfoilError as error:
        raise CommandFailed(str(error)) from error
    try:
        listener = listen(host, port)
    except OSError as error:
        raise CommandFailed(
            f"the server cannot listen on {host} port {port}: {error.strerror}. Select another with --port: commands of "
            "this folder find its server. Elsewhere, COUNTERFOIL_URL names the server to call."
        ) from error
    address = f"[{host}]" if ":" in host else host
    place = f"http://{address}:{listener.getsockname()[1]}"

    def configure(app: Application, host: str, port: int) -> uvicorn.Config:
        return config(build(app, public=public), host, port, ConnectionLimits(public=public))

    with listener, published(_reachable(place)), _workers(workers - 1, dir, store):
        _run_to_exit(
            lambda: serve(
                dir, store, listener, workers, configure, lambda: complain(f"Counterfoil on {place}")
            )
        )


def _reachable(url: str) -> str:
    """Return an address that this machine can call; a server on all addresses has no callable one of its own."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


@contextlib.contextmanager
def _workers(count: int, dir: Path, store: str) -> Iterator[None]:
    """Run this number of extra worker processes; they are terminated on leaving."""
    command = [sys.executable, "-m", "counterfoil.cli.main", "worker", str(dir), "--store", store]
    started = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_worker_environment(number))  # noqa: S603 - our own program
        for number in range(2, count + 2)
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def _set_environment(environment: str) -> None:
    """Select the environment of the governance folder for this process and its children."""
    os.environ["COUNTERFOIL_ENVIRONMENT"] = environment


def _worker_environment(number: int) -> dict[str, str]:
    """Return the environment variables of a worker, with a unique name.

    A worker that finds its own name in the store takes over the work of that name, as after a restart.
    """
    name = os.environ.get("COUNTERFOIL_WORKER")
    return {**os.environ, **({"COUNTERFOIL_WORKER": f"{name}-{number}"} if name else {})}


def worker(
    dir: Folder = Path("."), store: StoreOption = SQLITE_STORE, environment: EnvironmentOption = ""
) -> None:
    """Run one more worker on PostgreSQL."""
    from counterfoil.serving import work

    _set_environment(environment)
    _run_to_exit(lambda: work(dir, store))


def demo(
    dir: Annotated[Path | None, typer.Argument(help="The working folder; default: the current one.")] = None,
    port: Port = 8080,
) -> None:
    """Run the demonstration company on real systems."""
    from counterfoil.demo.run import main

    _run_to_exit(lambda: main(dir, port))


def twins() -> list[str]:
    """Return the names of the vendors that have a twin."""
    package = import_module("counterfoil.twins")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)


def twin(
    name: Annotated[str, typer.Argument(help="The vendor; an unknown name lists all vendors.")],
    port: Port = 12111,
    state: Annotated[Path | None, typer.Option(help="The database file of the twin.")] = None,
) -> None:
    """Run a twin of a vendor's API.

    With a twin, governance can be tried without an account at the vendor.
    """
    if name not in twins():
        raise CommandFailed(f"there is no twin {name}; available: {', '.join(twins())}.")
    if state is None:
        HOME.mkdir(mode=0o700, exist_ok=True)
        state = HOME / f"twin-{name}.db"
    main: Callable[[list[str]], int] = import_module(f"counterfoil.twins.{name}").main
    _run_to_exit(lambda: main(["--port", str(port), "--state", str(state)]))


def _run_to_exit(run: Callable[[], int]) -> None:
    """Call `run` and exit with its code. An expected error becomes one line instead of a traceback."""
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
