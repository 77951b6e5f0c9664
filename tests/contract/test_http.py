"""The doors and the operator API over a real socket: deliveries, lists, decisions, permissions, problems."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.web.http.permissions import Permission
from tests.companies.web import PASSWORD, Process, running, signed
from tests.companies.web_rows import approval_of, run_of
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture
def http(company: Process) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=company.url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        yield client


def problem(answer: httpx2.Response, status: int, kind: str = "") -> dict[str, Any]:
    """The problem document of an answer, which must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(document)
    assert document["status"] == status
    if kind:
        assert document["type"] == f"urn:counterfoil:problem:{kind}"
    return document


# ------------------------------------------------------------------ deliveries


def deliver(http: httpx2.Client, body: bytes, system: str = "billing") -> httpx2.Response:
    return http.post(f"/v1/receipts/{system}", content=body, headers=signed(body))


def test_a_signed_webhook_is_kept_once(http: httpx2.Client) -> None:
    id_ = secrets.token_hex(6)
    body = json.dumps({"id": id_, "amount": 1}).encode()
    first, second = deliver(http, body), deliver(http, body)
    assert (first.status_code, first.json()["verdict"]) == (202, "new")
    assert second.json() == {"verdict": "same", "receipt": first.json()["receipt"]}
    other = deliver(http, json.dumps({"id": id_, "amount": 2}).encode())
    assert other.json() == {"verdict": "clash", "receipt": first.json()["receipt"]}


def test_a_forged_webhook_is_refused(http: httpx2.Client) -> None:
    body = b'{"id": "forged"}'
    answer = http.post("/v1/receipts/billing", content=body + b" ", headers=signed(body))
    problem(answer, 401, "signature-mismatch")


def test_a_webhook_without_a_signature_is_refused(http: httpx2.Client) -> None:
    problem(http.post("/v1/receipts/billing", content=b"{}"), 401, "signature-missing")


def test_a_webhook_of_no_declared_system_is_refused(http: httpx2.Client) -> None:
    assert "nowhere" in problem(deliver(http, b"{}", "nowhere"), 404)["detail"]


def test_events_come_in_three_modes(http: httpx2.Client, company: Process) -> None:
    admin = company.bearer("ada")
    event = {"specversion": "1.0", "source": "/billing", "type": "invoice.finalized.v1", "data": {"n": 1}}
    one = {**event, "id": secrets.token_hex(6)}
    structured = http.post(
        "/v1/events",
        content=json.dumps(one),
        headers={**admin, "content-type": "application/cloudevents+json"},
    )
    assert (structured.status_code, structured.json()["items"][0]["verdict"]) == (202, "new")
    batch = http.post(
        "/v1/events",
        content=json.dumps([one, {**event, "id": secrets.token_hex(6)}]),
        headers={**admin, "content-type": "application/cloudevents-batch+json"},
    )
    assert [item["verdict"] for item in batch.json()["items"]] == ["same", "new"]
    binary = http.post(
        "/v1/events",
        content=b'{"n": 1}',
        headers={
            **admin, "content-type": "application/json", "ce-id": secrets.token_hex(6), "ce-source": "/billing",
            "ce-type": "invoice.finalized.v1", "ce-specversion": "1.0",
        },
    )  # fmt: skip
    assert binary.json()["items"][0]["verdict"] == "new"


def test_what_is_no_event_is_refused(http: httpx2.Client, company: Process) -> None:
    answer = http.post(
        "/v1/events",
        content=b'{"id": "1"}',
        headers={**company.bearer("ada"), "content-type": "application/cloudevents+json"},
    )
    problem(answer, 400, "unreadable")


# ------------------------------------------------------------------ lists and traces


def test_paging_gives_every_run_once(http: httpx2.Client, company: Process) -> None:
    seen: list[str] = []
    cursor = ""
    for _ in range(10):
        page = http.get(
            "/v1/runs", params={"limit": 2, "cursor": cursor}, headers=company.bearer("ada")
        ).json()
        seen += [row["key"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == [f"CR-100{n}" for n in range(1, 8)]


def test_runs_are_filtered(http: httpx2.Client, company: Process) -> None:
    def keys(**query: str) -> list[str]:
        rows = http.get("/v1/runs", params=query, headers=company.bearer("ada")).json()["items"]
        return sorted(row["key"] for row in rows)

    assert keys(status="done") == ["CR-1001"]
    assert keys(state="refused") == ["CR-1005"]
    assert keys(key="CR-1002") == ["CR-1002"]
    assert keys(workflow="invoice-to-erp") == []


def test_a_run_says_what_is_exposed(http: httpx2.Client, company: Process) -> None:
    rows = http.get("/v1/runs", params={"key": "CR-1002"}, headers=company.bearer("ada")).json()["items"]
    run = rows[0]
    assert run["exposure"] == [{"amount": "840.50", "currency": "USD", "minor": 84050}]
    assert run["foils"] == {"broken": 1}
    assert {"id", "workflow", "key", "status", "direction", "state", "exposure", "cases"} <= set(run)


def test_a_trace_goes_through_every_system_in_order_of_time(http: httpx2.Client, company: Process) -> None:
    found = http.get(f"/v1/runs/{run_of('CR-1001')}", headers=company.bearer("ada")).json()
    assert found["systems"] == ["support", "billing", "erp"]
    times = [moment["at"] for moment in found["timeline"]]
    assert times == sorted(times)
    titles = [moment["title"] for moment in found["timeline"]]
    order = [
        "support.credit_requested.v1", "Leo Lead approved", "billing.credit_memo.issue confirmed",
        "erp.credit_memo.post confirmed", "Counterfoil credit-memo is matched", "Run done: reconciled",
    ]  # fmt: skip
    assert [title for title in titles if title in order] == order


def test_a_trace_holds_ids_of_all_systems_and_both_halves(http: httpx2.Client, company: Process) -> None:
    found = http.get(f"/v1/runs/{run_of('CR-1001')}", headers=company.bearer("ada")).json()
    ids = {effect["system"]: [link["ext_id"] for link in effect["links"]] for effect in found["effects"]}
    assert ids == {"billing": ["cn_8Tq2"], "erp": ["account.move,311"]}
    assert {(link["object"], link["ext_id"]) for link in found["links"]} >= {("customer", "cus_Q1w2")}
    net = found["foils"][0]["halves"][0]
    assert (net["asserted"]["amount"], net["matched"]["amount"], net["residual"]["minor"]) == (
        "120.00", "120.00", 0,
    )  # fmt: skip
    assert found["foils"][0]["explanation"] == "ERP shows memo CR-1001 over 120.00 USD, as asserted."
    assert found["foils"][0]["observations"][0]["document"] == "memo CR-1001"
    assert found["approvals"][0]["votes"][0]["person"] == "leo"
    assert all(leaf["index"] is not None for leaf in found["leaves"])


def test_the_audit_list_follows_the_tree(http: httpx2.Client, company: Process) -> None:
    first = http.get("/v1/audit", params={"limit": 5}, headers=company.bearer("ada")).json()
    assert [leaf["index"] for leaf in first["items"]] == [0, 1, 2, 3, 4]
    second = http.get("/v1/audit", params={"limit": 5, "start": first["next"]}, headers=company.bearer("ada"))
    assert second.json()["items"][0]["index"] == 5
    assert first["checkpoint"]["size"] > 5


@pytest.mark.parametrize("path", ["foils", "cases", "approvals", "events", "releases"])
def test_every_list_has_rows(http: httpx2.Client, company: Process, path: str) -> None:
    assert http.get(f"/v1/{path}", headers=company.bearer("ada")).json()["items"] != []


# ------------------------------------------------------------------ decisions


def decide(http: httpx2.Client, company: Process, key: str, person: str, **more: Any) -> httpx2.Response:
    return http.post(
        f"/v1/approvals/{approval_of(key)}",
        json={"decision": "approve", **more},
        headers=company.bearer(person),
    )


def test_the_catalog_is_searched_and_opened(http: httpx2.Client, company: Process) -> None:
    found = http.get(
        "/v1/catalog", params={"q": "invoice total", "kind": "event"}, headers=company.bearer("ada")
    )
    assert found.status_code == 200
    assert [row["name"] for row in found.json()["items"]][-1] == "invoice.finalized.v1"
    entry = http.get("/v1/catalog/event/invoice.finalized.v1", headers=company.bearer("ada")).json()
    assert {"direction": "in", "word": "consumes", "kind": "workflow", "name": "invoice-to-erp"} in entry[
        "links"
    ]
    assert {"billing"} == {field["system"] for field in entry["fields"]["data"] if field["path"] == "total"}
    assert entry["source"]["name"] == "invoice.finalized.v1"
    released = http.get("/v1/catalog", params={"kind": "release"}, headers=company.bearer("ada")).json()[
        "items"
    ]
    assert [row["digest"] for row in released] == [entry["history"][-1]["release"]["digest"]]
    missing = http.get("/v1/catalog/event/gone.done.v1", headers=company.bearer("ada"))
    assert missing.status_code == 404


def test_controls_show_what_enforces_them_and_what_is_on_record(
    http: httpx2.Client, company: Process
) -> None:
    answer = http.get("/v1/controls", headers=company.bearer("ada"))
    assert answer.status_code == 200
    controls = {row["name"]: row for row in answer.json()["items"]}
    decided = controls["credit-decided-by-another"]
    assert decided["enforced"]
    assert {"kind": "policy", "name": "service-credit", "step": "", "fault": ""} in decided["enforced_by"]
    evidence = {name: row["evidence"] for name, row in controls.items()}
    assert all(0 <= e["found"] <= e["looked_at"] and e["failed"] == 0 for e in evidence.values())
    asked = http.get("/v1/approvals", params={"limit": 200}, headers=company.bearer("ada")).json()["items"]
    of_credits = [row["created_at"] for row in asked if row["policy"] == "service-credit"]
    assert evidence["credits-not-split"]["found"] == len(of_credits) > 0
    assert evidence["credits-not-split"]["latest"][:19] == max(of_credits)[:19]


def test_the_requester_cannot_approve(http: httpx2.Client, company: Process) -> None:
    refusal = problem(decide(http, company, "CR-1006", "fay"), 403, "separation-of-duties")
    assert "another person" in refusal["detail"]


def test_another_role_cannot_approve(http: httpx2.Client, company: Process) -> None:
    problem(decide(http, company, "CR-1003", "leo"), 403, "role")


def test_a_changed_subject_is_not_approved(http: httpx2.Client, company: Process) -> None:
    problem(decide(http, company, "CR-1003", "fay", subject="what it was yesterday"), 409, "subject")


def test_an_approval_is_decided_once(http: httpx2.Client, company: Process) -> None:
    answer = decide(http, company, "CR-1003", "fay", comment="checked", subject="subject-CR-1003")
    assert answer.json() == {"id": approval_of("CR-1003"), "verdict": "granted"}
    problem(decide(http, company, "CR-1003", "fay"), 409, "closed")
    seen = http.get(f"/v1/approvals/{approval_of('CR-1003')}", headers=company.bearer("fay")).json()
    assert (seen["state"], seen["votes"][0]["comment"]) == ("granted", "checked")
    assert seen["covers"]["amount"] == {"amount": "2500.00", "currency": "USD", "minor": 250000}


def test_an_unknown_approval_is_not_found(http: httpx2.Client, company: Process) -> None:
    answer = http.post("/v1/approvals/appr_none", json={"decision": "reject"}, headers=company.bearer("fay"))
    problem(answer, 404)


def test_a_case_is_resolved_by_its_owner_or_an_administrator(http: httpx2.Client, company: Process) -> None:
    path = "/v1/cases/case_unrouted_1"
    body = {"choice": "dismiss", "note": "a test of theirs"}
    problem(http.post(path, json=body, headers=company.bearer("fay")), 403, "role")
    problem(http.post(path, json=body | {"choice": "waive"}, headers=company.bearer("ada")), 422, "choice")
    assert http.post(path, json=body, headers=company.bearer("ada")).json()["verdict"] == "resolved"
    problem(http.post(path, json=body, headers=company.bearer("ada")), 409, "closed")
    assert http.get(path, headers=company.bearer("ada")).json()["resolved_by"] == "ada"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 422),
        (b'{"decision": "perhaps"}', 422),
        (b'{"decision": "approve", "extra": 1}', 422),
        (b'{"decision": "approve", "decision": "reject"}', 400),
        (b"[1]", 422),
        (b"", 400),
    ],
)
def test_a_body_of_another_shape_is_refused(
    http: httpx2.Client, company: Process, body: bytes, status: int
) -> None:
    headers = company.bearer("fay") | {"content-type": "application/json"}
    problem(http.post(f"/v1/approvals/{approval_of('CR-1007')}", content=body, headers=headers), status)


# ------------------------------------------------------------------ who may


@pytest.mark.parametrize(
    "path", ["/v1/runs", "/v1/audit", "/metrics", "/v1/health", f"/v1/runs/{run_of('CR-1001')}"]
)
def test_nobody_reads_without_a_token(http: httpx2.Client, path: str) -> None:
    answer = http.get(path)
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_role_without_the_permission_is_told_which(http: httpx2.Client, company: Process) -> None:
    assert (
        Permission.AUDIT_ANY_READ
        in problem(http.get("/v1/audit", headers=company.bearer("fay")), 403)["detail"]
    )
    problem(http.get("/v1/runs", headers=company.bearer("nil")), 403)
    problem(decide(http, company, "CR-1007", "ava"), 403)


@pytest.mark.parametrize("value", ["Bearer nonsense", "Basic YTpi", "Bearer", "Bearer cfs_x"])
def test_a_credential_that_is_not_good_is_refused(http: httpx2.Client, value: str) -> None:
    problem(http.get("/v1/runs", headers={"authorization": value}), 401)


def test_a_session_is_no_bearer_token(http: httpx2.Client) -> None:
    session = sign_in(http, "fay").cookies["counterfoil_session"]
    problem(http.get("/v1/runs", headers={"authorization": f"Bearer {session}"}), 401)


# ------------------------------------------------------------------ sessions


def sign_in(http: httpx2.Client, person: str, password: str = PASSWORD, **more: str) -> httpx2.Response:
    return http.post("/sign-in", data={"email": f"{person}@acme.example", "password": password, **more})


def csrf_in(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def test_a_session_cookie_is_kept_from_scripts_and_other_sites(http: httpx2.Client) -> None:
    answer = sign_in(http, "fay")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_wrong_password_and_an_unknown_name_look_alike(http: httpx2.Client) -> None:
    wrong, unknown = sign_in(http, "cory", "wrong"), sign_in(http, "nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace("cory", "nobody") == unknown.text


def test_guessing_is_slowed_down(http: httpx2.Client) -> None:
    answers = [sign_in(http, "leo", f"guess {n}").status_code for n in range(7)]
    assert answers == [401] * 5 + [429] * 2
    assert int(sign_in(http, "leo").headers["retry-after"]) > 0


def test_signing_in_leads_to_no_other_site(http: httpx2.Client) -> None:
    for there in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert sign_in(http, "fay", next=there).headers["location"] == "/"
    assert sign_in(http, "fay", next="/runs").headers["location"] == "/runs"


def test_a_page_asks_to_sign_in_and_comes_back(http: httpx2.Client) -> None:
    answer = http.get("/cases", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/cases")


def test_a_form_without_its_token_changes_nothing(http: httpx2.Client) -> None:
    sign_in(http, "fay")
    path = f"/approvals/{approval_of('CR-1007')}"
    form = {"decision": "approve", "subject": "subject-CR-1007"}
    assert http.post(path, data=form).status_code == 403
    assert http.post(path, data=form | {"csrf": "0" * 64}).status_code == 403
    csrf = csrf_in(http.get("/approvals", headers={"accept": "text/html"}).text)
    for foreign in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert http.post(path, data=form | {"csrf": csrf}, headers=foreign).status_code == 403
    problem(http.post("/v1" + path, json={"decision": "approve"}), 403, "csrf")


def test_signing_out_ends_the_session_everywhere(http: httpx2.Client) -> None:
    session = sign_in(http, "fay").cookies["counterfoil_session"]
    csrf = csrf_in(http.get("/", headers={"accept": "text/html"}).text)
    assert http.post("/sign-out", data={"csrf": csrf}).status_code == 303
    http.cookies.clear()
    stolen = http.get("/runs", headers={"accept": "text/html", "cookie": f"counterfoil_session={session}"})
    assert stolen.status_code == 303


def test_what_systems_say_is_never_markup(http: httpx2.Client) -> None:
    sign_in(http, "fay")
    page = http.get("/cases?state=all", headers={"accept": "text/html"}).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/runs/run_none", 404),
        ("GET", "/v1/cases/case_none", 404),
        ("GET", "/static/../../etc/passwd", 404),
        ("GET", "/static/none.css", 404),
        ("DELETE", "/v1/runs", 405),
        ("PUT", "/v1/events", 405),
        ("GET", "/v1/runs?limit=0", 400),
        ("GET", "/v1/runs?limit=many", 400),
        ("GET", "/v1/runs?cursor=1.%27%3B--", 400),
        ("GET", "/v1/audit?start=-1", 400),
        ("GET", "/v1/runs?key=" + "x" * 5000, 414),
    ],
)
def test_what_is_not_there_or_not_right_is_a_problem(
    http: httpx2.Client, company: Process, method: str, path: str, status: int
) -> None:
    problem(http.request(method, path, headers=company.bearer("ada")), status)


def test_other_content_types_are_refused(http: httpx2.Client, company: Process) -> None:
    headers = company.bearer("fay") | {"content-type": "text/plain"}
    problem(http.post(f"/v1/approvals/{approval_of('CR-1007')}", content=b"{}", headers=headers), 415)
    problem(http.post("/sign-in", content=b"{}", headers={"content-type": "application/json"}), 415)


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/runs", "/nothing", "/sign-in", "/static/style.css", "/openapi.json"]
)
def test_every_answer_has_the_headers_that_protect_it(http: httpx2.Client, path: str) -> None:
    headers = http.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


def test_files_are_kept_and_pages_are_not(http: httpx2.Client) -> None:
    page = http.get("/sign-in")
    assert page.headers["cache-control"] == "no-store"
    style = re.search(r'href="(/static/style\.css\?v=\w+)"', page.text)
    assert style is not None
    assert "immutable" in http.get(style[1]).headers["cache-control"]


def test_metrics_can_be_scraped(http: httpx2.Client, company: Process) -> None:
    answer = http.get("/metrics", headers=company.bearer("ada"))
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["counterfoil_foils", "broken"] == 2
    assert samples["counterfoil_ready",] == 1


def test_health_is_public_and_says_little(http: httpx2.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"ready": True}


def test_the_description_names_every_body_and_permission(http: httpx2.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["x-permission"], path
            has_body = method == "post" and not path.endswith(("/sweeps", "/end"))
            assert ("requestBody" in operation) == has_body, path
    text = json.dumps(document)
    for reference in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert reference in document["components"]["schemas"]


async def test_our_own_failures_show_nothing_inside(tmp_path: Path) -> None:
    body = b'{"id": "x"}'
    async with (
        running(tmp_path) as company,
        httpx2.AsyncClient(base_url=company.url, trust_env=False) as http,
    ):
        company.app.failing = RuntimeError("inner detail")
        answer = await http.post("/v1/receipts/billing", content=body, headers=signed(body))
        assert "inner" not in problem(answer, 500, "internal")["detail"]
        company.app.failing = Misconfigured("file of secrets is missing")
        answer = await http.post("/v1/receipts/billing", content=body, headers=signed(body))
        assert "secrets" not in problem(answer, 500, "misconfigured")["detail"]
        company.app.failing = TryAgain("the store is busy; nothing was kept", 3)
        answer = await http.post("/v1/receipts/billing", content=body, headers=signed(body))
        assert problem(answer, 503)["detail"] == "the store is busy; nothing was kept"
        assert answer.headers["retry-after"] == "3"
        company.app.ready = False
        assert (await http.get("/readyz")).status_code == 503


def test_a_run_is_found_by_any_systems_id(http: httpx2.Client, company: Process) -> None:
    for id_ in ("cn_8Tq2", "account.move,311"):
        rows = http.get("/v1/runs", params={"key": id_}, headers=company.bearer("ada")).json()["items"]
        assert [row["key"] for row in rows] == ["CR-1001"]
    rows = http.get("/v1/runs", params={"key": "cn_none"}, headers=company.bearer("ada")).json()["items"]
    assert rows == []
