"""A workflow that an operation starts is proven with who called as its requester, whatever the input says."""

from __future__ import annotations

from counterfoil.prove import findings, prove
from tests.companies.base import acme_model
from tests.companies.gateway import model


def test_every_step_behind_an_approval_of_the_caller_is_reached() -> None:
    acme = acme_model()
    for company, workflow in ((acme, "credit-takeback"), (model(), "payment")):
        proof = prove(company, workflow, 1)
        assert findings(company, proof) == []
