"""A workflow that an operation starts is proven with who called as its requester, whatever the input says."""

from __future__ import annotations

from counterfoil.model import read
from counterfoil.prove import findings, prove
from tests.companies.gateway import model
from tests.source import ROOT


def test_every_step_behind_an_approval_of_the_caller_is_reached() -> None:
    acme, _ = read(ROOT / "examples" / "acme")
    for company, workflow in ((acme, "credit-takeback"), (model(), "payment")):
        proof = prove(company, workflow, 1)
        assert findings(company, proof) == []
