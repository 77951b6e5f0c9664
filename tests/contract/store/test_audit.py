"""The audit of a store names what was edited, deleted or truncated behind its log, on all stores."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest
from msgspec.structs import replace

from counterfoil.cli.audit_checks import audit_checks
from counterfoil.core import wire
from counterfoil.core.audit import Checkpoint
from counterfoil.core.effect import EffectState
from counterfoil.flow.worker.audit_checkpoint import CheckpointSigner
from counterfoil.store.audit import audit
from counterfoil.store.port.audited import digests, row_digest
from counterfoil.store.port.maintenance import PutCheckpoint, Seal
from counterfoil.store.sql.audited import audited
from counterfoil.store.sql.sqlite import SqliteStore, read_file
from tests.contract.store import samples as s

SEALED = 3


@pytest.fixture
def signer(tmp_path: Path) -> CheckpointSigner:
    return CheckpointSigner.load_or_create(tmp_path / "audit.key", "counterfoil.local")


async def sealed(store: Any, signer: CheckpointSigner) -> Checkpoint:
    head = await store.apply(Seal(at=s.T0))
    point = Checkpoint(size=head.size, root=head.root, at=s.T0, text=signer.sign(head.size, head.root))
    await store.apply(PutCheckpoint(checkpoint=point))
    return point


async def lived(store: Any, signer: CheckpointSigner) -> Checkpoint:
    """A receipt with an event that starts a Run, an approval with a vote, a call with its result, and three seals."""
    await store.apply(s.receive(s.receipt(body=b"{}", sha256=wire.digest(b"{}"), sender="sam")))
    e = s.event()
    await store.apply(s.admit(events=(e,), starts=(s.start(),)))
    await store.apply(s.put_person(s.person("ann")))
    await store.apply(s.put_person(s.person("bob", ("controller",))))
    await sealed(store, signer)
    call, asked = s.effect(request=b'{"amount":"120.00"}', approvals=("apr_1",)), s.approval(senders=("sam",))
    leaf = {"rows": digests((call, asked)), "ctx": wire.digest(b"{}")[:32]}
    await store.apply(
        s.turn(plan=(call,), approvals=(asked,), foils=(s.foil(),), ctx=b"{}", leaf=wire.dumps(leaf))
    )
    await store.apply(s.vote(who="ann"))
    sending = replace(s.intent(call), send=replace(s.send(call), request=None))
    await store.apply(sending)
    await sealed(store, signer)
    await store.apply(s.conclude(call, EffectState.CONFIRMED, result=b'{"id":"42"}'))
    point = await sealed(store, signer)
    await store.apply(s.receive(s.receipt("r2", body=b"[]", sha256=wire.digest(b"[]"))))
    return point


async def found(
    store: Any, signer: CheckpointSigner, published: tuple[int, bytes] | None = None
) -> list[str]:
    dump, tree = await store.audited()
    return audit(dump, tree, signer.verify, published)


async def edit(store: Any, sql: str) -> None:
    """Change the store behind its back."""
    if isinstance(store, SqliteStore):
        connection = apsw.Connection(str(store.path))
        connection.set_busy_timeout(5000)
        await asyncio.to_thread(lambda: list(connection.execute(sql)))
        connection.close()
        return
    connection = await asyncpg.connect(store._dsn)
    await connection.execute("set session_replication_role = replica")
    await connection.execute(sql)
    await connection.close()


async def test_a_store_that_nobody_edited_has_no_finding(store: Any, signer: CheckpointSigner) -> None:
    point = await lived(store, signer)
    assert await found(store, signer, (point.size, point.root)) == []
    if isinstance(store, SqliteStore):
        dump, tree = await asyncio.to_thread(read_file, store.path, audited)
        assert audit(dump, tree, signer.verify) == [], "the file is read beside its server"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("update leaf set actor = 'person:eve' where kind = 'decided'", "was edited: leaf_"),
        ("update leaf set at = at + 1000000 where kind = 'received'", "leaf 0 was edited: leaf_"),
        ("delete from leaf where kind = 'decided'", "was deleted: leaf_"),
        ("delete from tree where idx = 2", "leaves 2 to 2 are missing from the tree"),
        ("delete from tree where idx >= 5", "the tree is truncated: leaves 5 to"),
        ("update tree set hash = zeroblob(32) where idx = 1", "leaves 0 to 3 do not have the root of the checkpoint"),
        ("update checkpoint set root = zeroblob(32) where size = 4", "the checkpoint over 4 leaves was edited"),
        ("delete from leaf where kind = 'received' and subject = '2'", "not sealed yet was deleted"),
        ("update vote set comment = 'no'", "the vote of person:ann on apr_1 was edited"),
        ("delete from vote", "the vote of person:ann on apr_1 was deleted"),
        ("insert into vote (approval, person, approve, comment, at) select approval, 'bob', approve, comment, at from vote", "person:bob on apr_1 was added"),
        ("update approval set amount = replace(amount, '12000', '12')", "Approval apr_1 was edited"),
        ("update effect set request = 'x'", "Effect eff_"),
        ("update effect set result = 'x'", "the result of effect eff_"),
        ("update event set data = '{}'", "CanonicalEvent evt_1 was edited"),
        ("delete from event", "evt_1 was deleted"),
        ("update foil set legs = replace(legs, '12000', '12001')", "was edited: it differs from its version"),
        ("update run set ctx = '{\"x\":1}'", "the state of run run_"),
        ("update person set roles = '[\"controller\"]' where id = 'ann'", "the roles of person ann were edited"),
        ("update receipt_body set body = 'x' where no = 1", "receipt 1 was edited"),
        ("update receipt set ext_id = 'x' where no = 1", "receipt 1 was edited"),
        ("update receipt set sender = 'eve' where no = 1", "receipt 1 was edited"),
        ("update approval set automatic = not automatic", "Approval apr_1 was edited"),
        ("update approval set expires = expires + 1000000", "Approval apr_1 was edited"),
        ("update approval set senders = '[]'", "Approval apr_1 was edited"),
        ("update event set effective_at = effective_at + 1000000", "CanonicalEvent evt_1 was edited"),
        ("update event set senders = '[\"eve\"]'", "CanonicalEvent evt_1 was edited"),
        ("update person set secret = 'x' where id = 'ann'", "the secret of person ann was edited"),
        ("update person set email = 'x' where id = 'ann'", "the email of person ann was edited"),
        ("update person set aliases = '{\"desk\":[\"x\"]}' where id = 'ann'", "the aliases of person ann was edited"),
    ],
)  # fmt: skip
async def test_what_was_edited_is_named(
    places: s.Places, signer: CheckpointSigner, kind: str, sql: str, finding: str
) -> None:
    store = await places(kind)
    await lived(store, signer)
    if kind == "postgres":
        zeros = "decode(repeat('00', 32), 'hex')"
        sql = sql.replace("zeroblob(32)", zeros)
    await edit(store, sql)
    findings = await found(store, signer)
    assert any(finding in text for text in findings), findings


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("update approval set amount = amount || 'x'", "table approval was edited: amount"),
        ("update foil set state = 'settled?'", "table foil was edited: state"),
        ("update receipt_body set headers = '['", "table receipt_body was edited: headers"),
        ("update event set data = '{'", "table event was edited: data"),
        ("update tree_edge set nodes = '['", "tree_edge was edited: nodes"),
        ("delete from tree_edge", "tree_edge was deleted"),
    ],
)
async def test_a_value_that_cannot_be_read_is_located(
    places: s.Places, signer: CheckpointSigner, tmp_path: Path, sql: str, finding: str
) -> None:
    store = await places("sqlite")
    await lived(store, signer)
    await edit(store, f"pragma ignore_check_constraints = 1; {sql}")
    checks = await asyncio.to_thread(audit_checks, f"sqlite:{store.path}", tmp_path)
    assert any(finding in detail for _, passed, detail, _ in checks if not passed), checks


async def test_a_published_checkpoint_that_the_store_lacks_is_named(
    places: s.Places, signer: CheckpointSigner
) -> None:
    store = await places("sqlite")
    point = await lived(store, signer)
    await edit(store, "delete from checkpoint")
    findings = await found(store, signer, (point.size, point.root))
    assert f"the checkpoint over {point.size} leaves was deleted" in findings


async def test_leaves_of_earlier_versions_are_judged_by_what_they_carry(
    places: s.Places, signer: CheckpointSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await places("sqlite")
    with monkeypatch.context() as patched:
        former = partial(row_digest, former=True)
        patched.setattr("counterfoil.store.port.audited.row_digest", former)
        await lived(store, signer)
    assert await found(store, signer) == []
