"""DBOS as a peer: executors in separate processes, on a given PostgreSQL or SQLite database."""

from __future__ import annotations

from bench.peers import PROGRAMS, environment
from bench.peers.process import Peer

PROGRAM = PROGRAMS / "on_dbos.py"


def executor(url: str, name: str) -> Peer:
    """Start an executor and wait until it is up. Raises Unavailable if DBOS cannot be installed."""
    peer = Peer([str(environment.python("dbos")), str(PROGRAM), url, name])
    try:
        peer.answer(60)
    except BaseException:
        peer.close()
        raise
    return peer


def postgres_url(dsn: str) -> str:
    """Return the address in DBOS's form."""
    return dsn.replace("postgresql://", "postgresql+psycopg://", 1)
