"""Each kind of failure has one response, and internal failures reveal nothing."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from counterfoil.connectors.signature import SignatureRefused
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.core.wire import WireRefused
from counterfoil.store.port.people import VoteRefusal, VoteResult
from counterfoil.web.api import decisions
from counterfoil.web.http.problems import Problem, problem_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SignatureRefused("too old", "expired"), 401),
        (WireRefused("key twice", "$.a"), 400),
        (Refused("no", ErrorClass.INVALID), 422),
        (Refused("no", ErrorClass.NOT_FOUND), 404),
        (Refused("no", ErrorClass.CONFLICT), 409),
        (Refused("no"), 422),
        (TryAgain("later"), 503),
        (Misconfigured("a file"), 500),
        (KeyError("inner"), 500),
    ],
)
def test_a_failure_has_its_status(error: Exception, status: int) -> None:
    assert problem_of(error).status == status


@pytest.mark.parametrize("error", [Misconfigured("secret-place"), ValueError("secret-place")])
def test_an_internal_failure_names_its_incident_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    problem = problem_of(error)
    incident = problem.detail.split()[-1].rstrip(".")
    assert "secret-place" not in problem.detail
    assert incident in caplog.text
    assert "secret-place" in caplog.text


def test_a_document_has_the_members_of_the_standard() -> None:
    document = json.loads(Problem(404, "no run x").body("/v1/runs/x"))
    assert document == {
        "type": "urn:counterfoil:problem:not-found", "title": "Not found", "status": 404,
        "detail": "no run x", "instance": "/v1/runs/x",
    }  # fmt: skip


def test_retry_after_is_in_whole_seconds() -> None:
    assert problem_of(TryAgain("later", 0.2)).headers["retry-after"] == "1"


@pytest.mark.parametrize("verdict", get_args(VoteRefusal))
def test_a_refused_vote_names_the_approval(verdict: str) -> None:
    with pytest.raises(Problem) as refused:
        decisions.vote_result(verdict, "appr_1", "fay")
    assert "appr_1" in refused.value.detail or "fay" in refused.value.detail


@pytest.mark.parametrize("verdict", get_args(VoteResult))
def test_an_accepted_vote_is_no_problem(verdict: str) -> None:
    assert decisions.vote_result(verdict, "appr_1", "fay") == verdict
