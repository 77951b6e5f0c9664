"""DBOS beside ours: executors as processes of their own, on the PostgreSQL (or an SQLite file) that they are given."""

from __future__ import annotations

from bench.peers import PROGRAMS, environment
from bench.peers.process import Peer

PROGRAM = PROGRAMS / "on_dbos.py"


def executor(url: str, name: str) -> Peer:
    """An executor that is up. Raises Unavailable when DBOS cannot be installed."""
    peer = Peer([str(environment.python("dbos")), str(PROGRAM), url, name])
    try:
        peer.answer(60)
    except BaseException:
        peer.close()
        raise
    return peer


def postgres_url(dsn: str) -> str:
    """The address in the form that DBOS takes."""
    return dsn.replace("postgresql://", "postgresql+psycopg://", 1)
