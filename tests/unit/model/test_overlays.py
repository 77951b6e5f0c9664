"""Overlays: environments when the folder is read, regions and legal entities by run, and all checked at once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from counterfoil.core.finding import Finding
from counterfoil.model import Model, read
from tests.companies.base import edited, write
from tests.companies.clean import COMPANY

DAY = date(2026, 6, 1)
REGION = """\
---
kind: table
name: region
owner: finance
key: [legal_entity]
value: region
valid_from: since
rows:
  - {legal_entity: de, region: emea}
  - {legal_entity: us, region: americas}
  - {legal_entity: us, region: emea, since: 2027-01-01}
"""


def overlay(name: str, of: str, *changes: str) -> str:
    return f"---\nkind: overlay\nname: {name}\nof: {of}\nchanges:\n" + "".join(f"  - {c}\n" for c in changes)


STRICT = "{kind: policy, name: credit-approval, set: {approval: {matrix: [{up_to: 50, automatic: true}, {roles: [controller]}]}}}"
LIMIT = "{kind: policy, name: credit-limit, set: {limit: {at_most: 100}}}"
RATES = "{kind: table, name: rates, set: {rows: [{region: eu, rate: 9}]}}"


def company(folder: Path, *overlays: str, environment: str | None = None) -> tuple[Model, list[Finding]]:
    return read(write(folder, COMPANY + REGION + "".join(overlays)), environment=environment)


def clean(folder: Path, *overlays: str, environment: str | None = None) -> Model:
    model, findings = company(folder, *overlays, environment=environment)
    assert [str(f) for f in findings] == []
    return model


def only(folder: Path, *overlays: str, environment: str | None = None) -> tuple[str, str, str]:
    """Rule, message and the text of the line of the one finding."""
    _, findings = company(folder, *overlays, environment=environment)
    (finding,) = findings
    return (
        finding.rule,
        finding.message,
        Path(finding.file).read_text(encoding="utf-8").splitlines()[finding.line - 1],
    )


def first_tier(model: Model) -> int | None:
    approval = model.policies["credit-approval"].approval
    assert approval is not None
    return approval.matrix[0].up_to


# ------------------------------------------------------------------ environments


def test_an_environment_is_chosen_when_the_folder_is_read(tmp_path: Path) -> None:
    there = overlay(
        "prod",
        "{environment: production}",
        "{kind: system, name: bills, set: {settings: {region: us}, caps: {concurrency: 2}}}",
    )
    plain = clean(tmp_path, there)
    model = clean(tmp_path, there, environment="production")
    assert plain.systems["bills"].settings == {"region": "eu"}
    assert (model.systems["bills"].settings, model.systems["bills"].caps.concurrency) == ({"region": "us"}, 2)
    assert model.systems["bills"].owner == "finance"
    assert model.digest != plain.digest
    assert not model.overlays


def test_mappings_are_joined_and_lists_replaced(tmp_path: Path) -> None:
    there = overlay(
        "prod", "{environment: p}", "{kind: policy, name: credit-approval, set: {approval: {expires: 5d}}}"
    )
    approval = clean(tmp_path, there, environment="p").policies["credit-approval"].approval
    assert approval is not None
    assert (approval.expires, len(approval.matrix)) == ("5d", 3)


def test_an_environment_that_no_overlay_is_of_is_reported(tmp_path: Path) -> None:
    there = overlay("prod", "{environment: production}", LIMIT)
    _, findings = company(tmp_path, there, environment="prodution")
    assert [f.rule for f in findings] == ["overlay-form"]
    assert clean(tmp_path, environment="anything")


def test_the_overlay_of_another_environment_does_not_move_the_digest(tmp_path: Path) -> None:
    there = overlay("prod", "{environment: production}", LIMIT)
    staging = overlay("staging", "{environment: staging}", LIMIT)
    assert (
        clean(tmp_path, there, staging, environment="production").digest
        == clean(tmp_path, there, environment="production").digest
    )


# ------------------------------------------------------------------ regions and legal entities


def test_a_legal_entity_has_its_own_policies_and_tables(tmp_path: Path) -> None:
    model = clean(tmp_path, overlay("germany", "{legal_entity: [de, at]}", STRICT, RATES))
    assert [first_tier(model.at(e, DAY)) for e in ("de", "at", "us", "")] == [50, 50, 100, 100]
    assert model.at("de", DAY).lookup_table("rates", ["eu"], DAY) == 9
    assert str(model.lookup_table("rates", ["eu"], DAY)) == "0.2"
    assert model.at("us", DAY) is model


def test_a_region_is_reported_by_the_table_on_the_day(tmp_path: Path) -> None:
    model = clean(tmp_path, overlay("emea", "{region: emea}", STRICT))
    assert [first_tier(model.at("us", day)) for day in (DAY, date(2027, 6, 1))] == [100, 50]
    assert first_tier(model.at("de", DAY)) == 50


def test_the_more_specific_place_counts_after_the_less_specific(tmp_path: Path) -> None:
    model = clean(
        tmp_path,
        overlay("a-germany", "{legal_entity: de}", STRICT.replace("50", "20")),
        overlay("b-emea", "{region: emea}", STRICT),
        overlay("c-prod", "{environment: p}", STRICT.replace("50", "70")),
        environment="p",
    )
    assert [first_tier(model.at(e, DAY)) for e in ("de", "fr", "us")] == [20, 70, 70]


def test_a_stored_model_has_the_same_places(tmp_path: Path) -> None:
    model = clean(tmp_path, overlay("germany", "{legal_entity: de}", STRICT, RATES))
    stored = Model.from_json(model.to_json())
    assert stored.digest == model.digest
    assert stored.at("de", DAY).digest == model.at("de", DAY).digest
    assert (
        stored.at("de", DAY).workflow("credit").approvals == model.at("de", DAY).workflow("credit").approvals
    )


def test_a_table_of_a_legal_entity_may_stand_in_a_csv_beside_the_overlay(tmp_path: Path) -> None:
    (tmp_path / "places").mkdir()
    (tmp_path / "places" / "de.csv").write_text("region,rate,since\neu,7,2026-01-01\n", encoding="utf-8")
    there = overlay("germany", "{legal_entity: de}", "{kind: table, name: rates, set: {file: de.csv}}")
    write(tmp_path / "places", there, "de.yaml")
    model = clean(tmp_path)
    assert model.at("de", DAY).lookup_table("rates", ["eu"], DAY) == "7"


# ------------------------------------------------------------------ findings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "{kind: polcy, name: credit-limit, set: {limit: {at_most: 1}}}  #!",
            "cannot change a document of kind",
        ),
        ("{kind: policy, name: credit-limt, set: {limit: {at_most: 1}}}  #!", "there is no policy"),
        ("{kind: workflow, name: credit, set: {deadline: 30d}}  #!", "must be the same in every region"),
        (
            "{kind: policy, name: careful, set: {failure: {case_within: 1d}}}  #!",
            "must be the same in every region",
        ),
        ("{kind: policy, name: credit-limit, set: {name: other}}  #!", "cannot change the name"),
        (
            "{kind: table, name: region, set: {rows: [{legal_entity: de, region: emea}]}}  #!",
            "cannot differ between regions",
        ),
    ],
)
def test_a_change_that_an_overlay_may_not_make_is_reported_at_its_line(
    tmp_path: Path, change: str, message: str
) -> None:
    rule, text, line = only(tmp_path, overlay("germany", "{legal_entity: de}", change))
    assert (rule, message in text, "#!" in line) == ("overlay-form", True, True), text


def test_a_value_that_does_not_fit_the_kind_is_reported_in_the_overlay(tmp_path: Path) -> None:
    change = "{kind: policy, name: credit-limit, set: {limit: {at_most: many}}}  #!"
    rule, _, line = only(tmp_path, overlay("germany", "{legal_entity: de}", change))
    assert (rule, "#!" in line) == ("wrong-value", True)


def test_a_rule_of_the_whole_model_that_breaks_in_one_place_is_reported_in_the_overlay(
    tmp_path: Path,
) -> None:
    change = "{kind: policy, name: credit-approval, set: {approval: {matrix: [{up_to: 50, roles: [controler]}]}}, loosens: x}  #!"
    _, findings = company(tmp_path, overlay("germany", "{legal_entity: de}", change))
    assert sorted(f.rule for f in findings) == ["approval-matrix", "unknown-reference"]
    assert all("(in legal entity de)" in f.message for f in findings)


def test_a_finding_caused_by_an_overlay_names_the_place(tmp_path: Path) -> None:
    change = "{kind: policy, name: credit-limit, set: {limit: {per: [no.such]}}, loosens: by contract}"
    rule, message, line = only(tmp_path, overlay("germany", "{legal_entity: de}", change))
    assert (rule, "reserve: credit-limit" in line) == ("unknown-name", True)
    assert message.endswith("(in legal entity de)")


def test_every_environment_and_entity_is_checked_at_once(tmp_path: Path) -> None:
    wrong = "{kind: policy, name: credit-limit, set: {limit: {currency: %s}}, loosens: x}"
    two = [
        overlay("prod", "{environment: p}", "{kind: system, name: bills, set: {owner: unknown}, loosens: x}"),
        overlay("germany", "{legal_entity: de}", wrong % "xx"),
    ]
    assert {f.rule for f in company(tmp_path, *two)[1]} == {"unknown-reference", "wrong-value"}
    assert {f.rule for f in company(tmp_path, *two, environment="")[1]} == {"wrong-value"}


def test_letting_an_excluded_role_decide_needs_a_reason(tmp_path: Path) -> None:
    strict = COMPANY.replace("requesters: [agent]", "requesters: [agent]\n  excludes: [support]")
    change = "{kind: policy, name: credit-approval, set: {approval: {excludes: []}}}"
    _, findings = read(write(tmp_path, strict + REGION + overlay("there", "{legal_entity: de}", change)))
    assert "overlay-loosens" in {f.rule for f in findings}, [str(f) for f in findings]


@pytest.mark.parametrize(
    ("of", "change"),
    [
        (
            "{legal_entity: de}",
            STRICT.replace("{up_to: 50, automatic: true}, {roles: [controller]}", "{automatic: true}"),
        ),
        ("{legal_entity: de}", STRICT.replace("roles: [controller]", "roles: [finance, controller]")),
        ("{legal_entity: de}", "{kind: policy, name: credit-approval, set: {approval: {requesters: []}}}"),
        ("{legal_entity: de}", "{kind: policy, name: credit-limit, set: {limit: {at_most: 9000}}}"),
        ("{environment: p}", "{kind: workflow, name: credit, set: {steps: [{check: 'true'}]}}"),
        ("{environment: p}", "{kind: system, name: bills, set: {owner: controller}}"),
        ("{environment: p}", "{kind: object, name: credit, set: {fields: {note: string}}}"),
        ("{environment: p}", "{kind: policy, name: careful, set: {failure: {refused: continue}}}"),
        ("{environment: p}", "{kind: reconciliation, name: credit, set: {tolerance: 5}}"),
        ("{environment: p}", '{kind: role, name: agent, set: {may: ["cases:any:resolve"]}}'),
    ],
)
def test_asking_less_needs_a_reason(tmp_path: Path, of: str, change: str) -> None:
    _, findings = company(tmp_path, overlay("there", of, change + "  #!"))
    loosens = [f for f in findings if f.rule == "overlay-loosens"]
    assert len(loosens) == 1, [str(f) for f in findings]
    findings = company(tmp_path, overlay("there", of, change.removesuffix("}") + ", loosens: a contract}"))[1]
    assert not [f for f in findings if f.rule == "overlay-loosens"]


@pytest.mark.parametrize(
    "change", [STRICT, LIMIT, RATES, "{kind: policy, name: first-open, set: {posting_date: {rule: reject}}}"]
)
def test_asking_as_much_or_more_needs_none(tmp_path: Path, change: str) -> None:
    clean(tmp_path, overlay("there", "{legal_entity: de}", change))


def test_two_overlays_for_one_place_do_not_set_the_same_thing(tmp_path: Path) -> None:
    rule, message, line = only(
        tmp_path,
        overlay("one", "{legal_entity: [de, at]}", LIMIT),
        overlay("two", "{legal_entity: [at, fr]}", LIMIT + "  #!"),
    )
    assert (rule, "`one` sets the same value" in message, "#!" in line) == ("overlay-form", True, True)


def test_two_overlays_for_one_place_may_set_different_things(tmp_path: Path) -> None:
    clean(tmp_path, overlay("one", "{legal_entity: de}", LIMIT), overlay("two", "{legal_entity: de}", STRICT))


def test_a_region_that_no_table_knows_is_reported(tmp_path: Path) -> None:
    rule, message, _ = only(tmp_path, overlay("apac", "{region: apac}", LIMIT))
    assert (rule, message) == ("overlay-form", "the table `region` has no legal entity in apac")


def test_an_overlay_that_can_never_count_is_reported(tmp_path: Path) -> None:
    text = edited(
        COMPANY,
        ("name: credit.requested.v1\nproduced: http", "name: credit.requested.v1\nproduced: counterfoil"),
    )
    _, findings = read(write(tmp_path, text + REGION + overlay("germany", "{legal_entity: de}", LIMIT)))
    assert [f.message for f in findings] == ["no fact has a legal entity, so this overlay never applies"]


def test_a_secret_in_an_overlay_is_found(tmp_path: Path) -> None:
    there = overlay(
        "prod", "{environment: p}", "{kind: system, name: bills, set: {settings: {api_key: abc}}}  #!"
    )
    rule, _, line = only(tmp_path, there)
    assert (rule, "#!" in line) == ("secret-in-file", True)
