"""`check` builds every connector without network and secrets: a folder that passes can start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from counterfoil.bootstrap import build_connectors, connectors_of, read_model
from counterfoil.change.connector_checks import RULES, ConnectorChecks
from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import Finding
from counterfoil.model import read
from counterfoil.model.connector_changes import to_build
from counterfoil.model.scaffold import init
from tests.source import ROOT

ACME = ROOT / "examples" / "acme"


def findings_of(folder: Path) -> list[Finding]:
    return read(folder, also=ConnectorChecks(folder))[1]


def changed(folder: Path, file: str, old: str, new: str) -> Path:
    path = folder / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return folder


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """Copy the example without its tests: they are two thirds of the documents, and no connector reads them."""
    shutil.copytree(ACME, tmp_path / "acme", ignore=shutil.ignore_patterns("tests"))
    return tmp_path / "acme"


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `init` writes it, with its secrets. Tests copy it: `init` itself takes seconds."""
    folder = tmp_path_factory.mktemp("new") / "first"
    init(folder)
    (folder / ".counterfoil").mkdir()
    for name in ("helpdesk-secret", "billing-token"):
        (folder / ".counterfoil" / name).write_text("whsec_c2VjcmV0")
    return folder


@pytest.fixture
def starter(tmp_path: Path, new_folder: Path) -> Path:
    shutil.copytree(new_folder, tmp_path / "first")
    return tmp_path / "first"


def test_the_example_and_a_new_folder_can_start(starter: Path) -> None:
    assert findings_of(ACME) == []
    assert findings_of(starter) == []
    shutil.rmtree(starter / ".counterfoil")
    assert [(f.rule, f.severity) for f in findings_of(starter)] == [("connector-reference", "warning")] * 2


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("file:.counterfoil/billing-tokn", "did you mean `billing-token`?"),
        ("file:.counterfoil/helpdesk_secret", "did you mean `helpdesk-secret`?"),
        ("file:elsewhere/key", "write the secret to this file, or name another one"),
    ],
)
async def test_a_missing_file_is_a_warning_of_check_and_a_refusal_of_up_at_its_place(
    starter: Path, written: str, near: str
) -> None:
    changed(starter, "1-systems.yaml", "file:.counterfoil/billing-token", written)
    (finding,) = findings_of(starter)
    line = (starter / "1-systems.yaml").read_text("utf-8").partition(written)[0].count("\n") + 1
    assert (finding.rule, finding.severity, finding.line) == ("connector-reference", "warning", line)
    assert finding.fix == near
    with pytest.raises(Misconfigured) as refused:
        connectors_of(read_model(starter), starter)
    assert f"{starter}/1-systems.yaml:{line}: system billing: secrets.token: the file " in str(refused.value)
    assert near in str(refused.value)


@pytest.mark.parametrize("reference", ["url: file:address", "settings: {ca_file: 'file:roots.pem'}"])
def test_a_missing_file_is_a_warning_wherever_it_is_named(acme: Path, reference: str) -> None:
    key = reference.partition(":")[0]
    text = (acme / SUPPORT).read_text("utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
    (acme / SUPPORT).write_text("\n".join([*kept, reference, ""]))
    warnings = [f for f in findings_of(acme) if f.rule == "connector-reference"]
    assert [(f.severity, f.line) for f in warnings] == [("warning", len(kept) + 1)]


MAPPINGS = "3-mappings.yaml"
MISFITS = [
    ("  customer: =input.customer", "  custmer: =input.customer", 10, "has no field `custmer`", "did you mean `customer`?"),
    ("  currency: =input.amount.currency\n", "", 7, "requires the field `currency`", "add `currency:`"),
    ("  memo:", "  nothing_like_it:", 13, "has no field `nothing_like_it`", "its fields: "),
    ("result.created", "result.creatd", 15, "the result of createCredit of the API has no field `creatd`", "did you mean `created`?"),
    ("{credit: =result.number}", "{credit: =result.nmber}", 16, "has no field `nmber`", "did you mean `number`?"),
    ("with: {number: =input.number}", "with: {numbr: =input.number}", 21, "requires the field `number`", "rename `numbr` to `number`"),
    ("  currency: =input.amount.currency\n  memo: =input.reason\n", "  curency: =input.amount.currency\n", 12, "has no field `curency`", "did you mean `currency`?"),
    ("returns: {result: {id: =result.id}}", "returns: {result: {id: =result.di}}", 35, "has no field `di`", "id"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "message", "fix"), MISFITS)
def test_a_mapping_that_does_not_fit_the_api_is_one_finding(
    starter: Path, old: str, new: str, line: int, message: str, fix: str
) -> None:
    (finding,) = findings_of(changed(starter, MAPPINGS, old, new))
    assert (finding.rule, finding.severity) == ("connector-mapping", "error")
    assert finding.file == str(starter / MAPPINGS)
    text = (starter / MAPPINGS).read_text("utf-8").splitlines()[finding.line - 1]
    assert abs(finding.line - line) <= 1, text
    assert message in finding.message
    assert fix in finding.fix


def test_an_open_description_allows_other_fields(starter: Path) -> None:
    api = starter / "billing-api.json"
    api.write_text(
        api.read_text("utf-8").replace('"properties": {', '"additionalProperties": true, "properties": {'),
        "utf-8",
    )
    changed(starter, MAPPINGS, "  memo: =input.reason", "  memo: =input.reason\n  more: =input.reason")
    assert findings_of(starter) == []


WORDS = [
    ("loopback: true", "loopback: yes", "expected true or false", "write `true`"),
    ("loopback: true", "loopback: 'no'", "expected true or false", "write `false`"),
    ("loopback: true", "loopback: 1", "expected true or false", ""),
    (
        "scheme: bearer",
        "scheme: baerer",
        "expected 'bearer', 'basic', 'header' or 'none'",
        "did you mean `bearer`?",
    ),
    ("items: /data, match", "one: off, items: /data, match", "expected true or false", "write `false`"),
]


@pytest.mark.parametrize(("old", "new", "message", "fix"), WORDS)
def test_a_setting_has_exactly_the_values_of_yaml_1_2(
    starter: Path, old: str, new: str, message: str, fix: str
) -> None:
    found = [
        f for f in findings_of(changed(starter, "1-systems.yaml", old, new)) if f.rule == "connector-settings"
    ]
    (finding,) = found
    assert message in finding.message
    assert finding.fix == fix


@pytest.mark.parametrize("word", ["true", "false"])
def test_a_setting_may_be_true_or_false_in_an_environment_variable(
    starter: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("LOOPBACK", word)
    changed(starter, "1-systems.yaml", "loopback: true", "loopback: env:LOOPBACK")
    assert findings_of(starter) == []


SLIPS = [
    ("5-credit.yaml", "customer: =event.data.customer_id\n", "customer: =event.data.custmer_id\n"),
    ("5-credit.yaml", "customer: =event.data.customer_id,", "customer: =event.data.custmer_id,"),
    (
        "5-credit.yaml",
        "covers: [event.data.amount, event.data.customer_id",
        "covers: [event.data.amount, event.data.custmer_id",
    ),
    ("5-credit.yaml", "covers: [event.data.amount,", "covers: [event.data.amuont,"),
    ("5-credit.yaml", "key: event.data.customer_id, hold", "key: event.data.custmer_id, hold"),
    ("5-credit.yaml", "      credit: =", "      crdit: ="),
    ("3-mappings.yaml", "    reason: =body", "    raeson: =body"),
    ("1-systems.yaml", "owner: support-lead", "ownr: support-lead"),
    ("2-contracts.yaml", "repeat: unique", "repat: unique"),
    ("4-policies.yaml", "  timeout: park", "  timeuot: park"),
]


@pytest.mark.parametrize(("file", "right", "wrong"), SLIPS)
def test_one_slip_is_one_error(starter: Path, file: str, right: str, wrong: str) -> None:
    errors = [f for f in findings_of(changed(starter, file, right, wrong)) if f.severity == "error"]
    assert len(errors) == 1, [f.report() for f in errors]
    assert "did you mean" in errors[0].message + errors[0].fix


def test_a_wrong_address_is_not_taken_for_a_secret(starter: Path) -> None:
    changed(starter, "1-systems.yaml", "url: http://127.0.0.1:12111/helpdesk", "url: 127.0.0.1:12111")
    (finding,) = [f for f in findings_of(starter) if f.severity == "error"]
    assert "secret" not in finding.message
    assert "an http(s) or postgresql address" in finding.message


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ("repeat: unique", "repeat: uniqe", "unique"),
        ("system: ledger\nfields", "system: legder\nfields", "ledger"),
    ],
)
def test_a_wrong_word_of_a_closed_set_has_a_near_one(starter: Path, old: str, new: str, near: str) -> None:
    changed(starter, "2-contracts.yaml", old, new)
    assert any(f"did you mean `{near}`?" in f.fix for f in findings_of(starter))


def test_a_refused_folder_is_told_as_check_tells_it(acme: Path) -> None:
    for file, old, new, *_ in ATTACKS[:4]:
        changed(acme, file, old, new) if old in (acme / file).read_text("utf-8") else None
    errors = [finding for finding in findings_of(acme) if finding.severity == "error"]
    with pytest.raises(Misconfigured) as refused:
        read_model(acme)
    assert len(errors) > 1
    for finding in errors:
        assert finding.report() in str(refused.value)
        assert finding.fix in str(refused.value)
    assert f"counterfoil check {acme}" in str(refused.value)


BILLING, ERP, SUPPORT = (f"systems/{name}.yaml" for name in ("billing", "erp", "support"))
ATTACKS = [
    (SUPPORT, "connector: roundup", "connector: roundap", "connector", 5, "did you mean `roundup`?"),
    (BILLING, "api_version", "api_versoin", "connector-settings", 9, "did you mean `api_version`?"),
    (BILLING, "loopback: true", "lopback: true", "connector-settings", 9, "did you mean `loopback`?"),
    (BILLING, "loopback: true", "loopback: 7", "connector-settings", 9, "expected true or false"),
    (BILLING, "loopback: true", "allowed_hosts: a.b", "connector-settings", 9, "expected a list"),
    (BILLING, "loopback: true", "read_timeout: soon", "connector-settings", 9, "expected a number"),
    (BILLING, "loopback: true", "ca_file: no.pem", "connector-settings", 9, "no.pem` cannot be used"),
    (BILLING, "zone: America/New_York", "zone: Mars/Base", "connector-settings", 9, "not a time zone"),
    (BILLING, "loopback: true", "events: invoice.paid", "connector-settings", 9, "expected a list"),
    (BILLING, "api_key:", "api_kay:", "connector-settings", 10, "did you mean `api_kay`?"),
    (BILLING, "env:ACME_BILLING_URL", "https://", "connector-settings", 8, "not an http or https address"),
    (BILLING, "env:ACME_BILLING_URL", "https://a:b@c", "connector-settings", 8, "has a user"),
    (BILLING, "events: {every", "event: {every", "connector-feed", 12, "did you mean `events`?"),
    (ERP, "  receivable: \"1200\"\n", "", "connector-settings", 10, "`receivable` is missing"),
    (ERP, "company: 1", "company: one", "connector-settings", 12, "expected a whole number"),
    (ERP, "ACME_ERP_KEY}", "ACME_ERP_KEY, password: env:ACME_X}", "connector-settings", 18, "`login`"),
    (ERP, "invoices: {every", "bills: {every", "connector-feed", 20, "periods"),
    ("roles/roles.yaml", "runs:any:read", "runs:any:reed", "unknown-permission", 4, "did you mean `runs:any:read`?"),
    ("operations/erp.yaml", "repeat: find", "repeat: unique", "connector-repeat", 17, "write `repeat: find`"),
    ("operations/billing.yaml", "retention: 86400s", "retention: 30d", "connector-repeat", 0, "write `retention: 86400s`"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "rule", "line", "words"), ATTACKS)
def test_a_fault_is_one_finding_with_its_place(
    acme: Path, file: str, old: str, new: str, rule: str, line: int, words: str
) -> None:
    found = [f for f in findings_of(changed(acme, file, old, new)) if f.rule == rule]
    (finding,) = found
    assert finding.file == str(acme / file)
    assert finding.line == line or not line
    assert words in f"{finding.message}; {finding.fix}"
    assert "\n" not in finding.message
    with pytest.raises(Misconfigured, match="does not pass check"):
        read_model(acme)


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ("repeat: key", "repeat: unique", "write `repeat: key`"),
        ("horizon: 120s", "horizon: 16m", "write `horizon: 120s`"),
        ("retention: 86400s", "retention: 30d", "write `retention: 86400s`"),
    ],
)
def test_an_operation_that_starts_a_workflow_is_compared_too(
    acme: Path, old: str, new: str, fix: str
) -> None:
    """The workflow that it starts calls it."""
    file = acme / "operations/billing.yaml"
    before, start, after = file.read_text("utf-8").partition("name: billing.debit_memo.issue")
    file.write_text(before + start + after.replace(old, new, 1), "utf-8")
    (finding,) = [f for f in findings_of(acme) if f.rule == "connector-repeat"]
    assert finding.fix == fix


def test_an_operation_that_the_connector_lacks_names_the_near_one(acme: Path) -> None:
    text = "kind: operation\nname: erp.invoice.past\nsystem: erp\nrepeat: find\nexecutor: identity\nirreversible: it is posted\n"
    (acme / "more.yaml").write_text(text)
    (finding,) = findings_of(acme)
    assert (finding.rule, finding.line, finding.fix) == (
        "connector-operation",
        2,
        "did you mean `erp.invoice.post`?",
    )


@pytest.mark.parametrize("horizon", ["60s", "16m"])
def test_another_horizon_is_a_warning(acme: Path, horizon: str) -> None:
    findings = findings_of(changed(acme, "operations/billing.yaml", "horizon: 120s", f"horizon: {horizon}"))
    assert {(f.rule, f.severity, f.fix) for f in findings} == {
        ("connector-repeat", "warning", "write `horizon: 120s`")
    }


def test_all_faults_come_at_once(acme: Path) -> None:
    for file, old, new, *_ in ATTACKS:
        if old in (acme / file).read_text("utf-8") and not old.startswith(("loopback", "zone")):
            changed(acme, file, old, new)
    rules = {finding.rule for finding in findings_of(acme)}
    assert rules >= {
        "connector",
        "connector-settings",
        "connector-feed",
        "connector-repeat",
        "unknown-permission",
    }


HTTP = "1-systems.yaml"
HTTP_ATTACKS = [
    ("operationId: createCredit\n", "operationId: createCredits\n", "did you mean `createCredit`?"),
    ("key_header: Idempotency-Key", "key_heder: Idempotency-Key", "did you mean `key_header`?"),
    ("find: {operationId: listCredits", "find: {operationID: listCredits", "did you mean `operationId`?"),
    ("parameters: {external_id: $key}", "parameters: {extern_id: $key}", "did you mean `external_id`?"),
    ("scheme: bearer", "scheme: bearor", "'bearer'"),
    ("scheme: standard-webhooks-v1", "scheme: standard-webhook-v1", "did you mean `standard-webhooks-v1`?"),
    ("openapi: 3.1.0", "swagger: 2.0", "not an OpenAPI 3 document"),
    ("result: {number: /number}", "result: {}", "a write needs pointers"),
    ("{token: ", "{tokens: ", "did you mean `tokens`?"),
]


@pytest.mark.parametrize(("old", "new", "words"), HTTP_ATTACKS)
def test_faults_of_http_settings_are_at_their_lines(starter: Path, old: str, new: str, words: str) -> None:
    line = (starter / HTTP).read_text("utf-8").partition(old)[0].count("\n") + 1
    found = findings_of(changed(starter, HTTP, old, new))
    finding = next(f for f in found if words in f"{f.message}; {f.fix}")
    assert finding.rule == "connector-settings"
    assert finding.file == str(starter / HTTP)
    assert abs(finding.line - line) <= 1 or "openapi" in old


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", ""),
        ("operationId: listPostings", "operationId: listPosting", "did you mean `listPostings`?"),
        ("cursor: after", "cursor: behind", "listPostings has no parameter behind"),
        ("next_item: /seq", "next_itm: /seq", "did you mean `next_item`?"),
        ("cursor: after", "page: after", "exactly one of next and next_item"),
        ("id: /id", "id: id", "expected a pointer"),
    ],
)
def test_faults_of_listings_are_at_their_lines(starter: Path, old: str, new: str, words: str) -> None:
    path = starter / HTTP
    before, mark, listing = path.read_text("utf-8").partition("  listings:")
    assert old in listing
    path.write_text(before + mark + listing.replace(old, new, 1), "utf-8")
    found = findings_of(starter)
    assert bool(found) == bool(words)
    if words:
        finding = next(f for f in found if words in f"{f.message}; {f.fix}")
        first = before.count("\n") + 1
        assert finding.rule == "connector-settings"
        assert first <= finding.line <= first + 10


def test_a_missing_description_names_the_path(starter: Path) -> None:
    text = (starter / HTTP).read_text("utf-8")
    (starter / HTTP).write_text(text.replace("billing-api.json", "no/such/api.yaml"), "utf-8")
    (finding,) = findings_of(starter)
    assert f"`{starter}/no/such/api.yaml` cannot be read" in finding.message
    assert finding.fix == "a relative path starts at the file that names it"


@pytest.mark.parametrize(
    ("setting", "rule", "severity"),
    [
        ("repeat: key", "", ""),
        ("repeat: unique", "connector-repeat", "error"),
        ("horizon: 60", "", ""),
        ("horizon: 61", "connector-repeat", "warning"),
        ("horizon: 59", "connector-repeat", "warning"),
        ("retention: 86400", "", ""),
        ("retention: 86399", "connector-repeat", "error"),
        ("retention: 86401", "connector-repeat", "warning"),
        ("timeout: 30", "", ""),
        ("timeout: 3", "connector-repeat", "warning"),
        ("timeout: 60", "connector-repeat", "warning"),
    ],
)
def test_a_setting_that_contradicts_the_operation_is_a_finding(
    starter: Path, setting: str, rule: str, severity: str
) -> None:
    old = "    billing.credit.issue:\n      operationId: createCredit\n"
    findings = findings_of(changed(starter, HTTP, old, f"{old}      {setting}\n"))
    assert [(f.rule, f.severity) for f in findings] == ([(rule, severity)] if rule else [])


def test_repeat_is_declared_once(starter: Path) -> None:
    old = "    billing.credit.issue:\n      operationId: createCredit\n"
    second = changed(starter, HTTP, old, old + "      repeat: find\n")
    (finding,) = findings_of(second)
    assert (finding.rule, finding.file) == ("connector-repeat", str(starter / "2-contracts.yaml"))
    assert finding.message == "`repeat: key` contradicts the connector `http`, which has `repeat: find`"


def test_settings_for_an_operation_that_nothing_declares(starter: Path) -> None:
    (finding, *_) = findings_of(
        changed(starter, HTTP, "    ledger.credit.post:\n", "    ledger.credit.pots:\n")
    )
    assert "no document of kind operation declares `ledger.credit.pots`" in finding.message
    assert finding.fix == "did you mean `ledger.credit.post`?"


def test_missing_values_are_listed_at_once_with_their_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_ERP_KEY", "")
    for name in ("ACME_BILLING_URL", "ACME_SUPPORT_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Misconfigured) as raised:
        connectors_of(read_model(ACME), ACME)
    lines = str(raised.value).splitlines()
    for line in (
        "system billing: url: the environment variable ACME_BILLING_URL is not set",
        "system erp: secrets.key: the environment variable ACME_ERP_KEY is empty",
        "system support: secrets.password: the environment variable ACME_SUPPORT_PASSWORD is not set",
    ):
        assert any(line in text for text in lines)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_secret_file_that_cannot_be_used_is_named(
    starter: Path, tmp_path: Path, content: bytes | None
) -> None:
    secret = tmp_path / "token"
    if content is not None:
        secret.write_bytes(content)
    folder = changed(starter, HTTP, "file:.counterfoil/billing-token", f"file:{secret}")
    assert [f.rule for f in findings_of(folder)] == ["connector-reference"] * (content is None)
    with pytest.raises(Misconfigured, match=r"system billing: secrets\.token: the file .*token"):
        build_connectors(read_model(folder), ["billing"], folder)


def test_a_changed_operation_builds_its_connector_again(starter: Path) -> None:
    before, _ = read(starter)
    after, _ = read(changed(starter, "2-contracts.yaml", "retention: 1d #", "retention: 2d #"))
    assert to_build(before, after) == ("billing",)


def test_every_place_is_checked_with_its_own_settings(acme: Path) -> None:
    overlay = "kind: overlay\nname: test\nof: {environment: test}\nchanges:\n  - {kind: system, name: erp, set: {connector: trytan}}\n"
    (acme / "test.yaml").write_text(overlay)
    (finding,) = [f for f in findings_of(acme) if f.rule == "connector"]
    assert finding.file == str(acme / "test.yaml")
    assert finding.message.endswith("(in the environment test)") or "test" in finding.message
    assert [
        f for f in read(acme, environment="", also=ConnectorChecks(acme))[1] if f.rule == "connector"
    ] == []


def test_every_rule_of_connectors_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "governance.md").read_text("utf-8")
    assert [name for name, words in RULES.items() if f"| `{name}` | {words} |" not in text] == []
