"""Cases about a prepared checkpoint: both ways of counting differ, or a control account has something beyond the documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from counterfoil.core.book_checkpoint import (
    BookCheckpoint,
    CheckpointContent,
    control_case_id,
    defect_case_id,
)
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows
from counterfoil.model import kinds


def defect_case(
    rule: kinds.Reconciliation,
    checkpoint: BookCheckpoint,
    content: CheckpointContent,
    owners: Sequence[str],
    matches: Iterable[MatchRows],
) -> Case | None:
    """Return the Case about the difference between both ways of counting; None if they agree."""
    if all(line.agrees for line in content.lines):
        return None
    documents = {d.document for line in content.lines for d in line.differences}
    causes = []
    for rows in matches:
        causes += [f.cause for f in rows.foils if f.document in documents]
        causes += [o.event for o in rows.observations if o.document in documents]
    return open_case(
        "checkpoint_defect",
        id=defect_case_id(checkpoint.id),
        message=f"{_title(rule, checkpoint)}: {'; '.join(content.obstacles)}",
        owners=owners,
        at=checkpoint.prepared_at,
        names={"object": f"checkpoint {checkpoint.id}", "system": rule.right},
        event=next((cause for cause in causes if cause.startswith("evt")), None),
    )


def control_case(
    rule: kinds.Reconciliation, checkpoint: BookCheckpoint, content: CheckpointContent, owners: Sequence[str]
) -> Case | None:
    """Return the Case about control accounts that have something beyond the documents; None if none has."""
    if not content.unexplained:
        return None
    texts = []
    for line in content.unexplained:
        balance, documents, difference = (
            Money(units, line.currency).grouped() for units in (line.balance, line.documents, line.difference)
        )
        texts.append(
            f"{line.account} has a balance of {balance} and should have {documents}: {difference} beyond"
        )
    return open_case(
        "control_difference",
        id=control_case_id(checkpoint.id),
        message=f"{_title(rule, checkpoint)}: {'; '.join(texts)}",
        owners=owners,
        at=checkpoint.prepared_at,
        names={"object": f"checkpoint {checkpoint.id}", "system": rule.right},
    )


def _title(rule: kinds.Reconciliation, checkpoint: BookCheckpoint) -> str:
    of_entity = f" of {checkpoint.entity}" if checkpoint.entity else ""
    return f"Checkpoint {rule.name}{of_entity} at {checkpoint.at}"
