"""Reading a folder: hostile text, places of findings, canonical form, and files that are not as they should be."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError as RuamelError

from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import Finding, errors
from counterfoil.model import Model, read
from counterfoil.model.kinds import Alert, Call, Choose, StopVerb
from counterfoil.model.source import MAX_BYTES, parse, resolve, unbalanced
from counterfoil.model.yaml_events import YamlSyntaxError, parse_events
from tests.companies.base import edited, write
from tests.companies.clean import COMPANY, findings_of, plant


def rules(findings: list[Finding]) -> list[str]:
    return [finding.rule for finding in findings]


def test_a_folder_without_a_governance_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kind: role\n")
    (finding,) = read(tmp_path)[1]
    assert (finding.rule, finding.severity) == ("unreadable", "error")
    assert "`counterfoil init DIR`" in finding.fix


# ------------------------------------------------------------------ hostile text


def test_nested_aliases_build_nothing(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x]\n" + "".join(
        f"{c}: &{c} [*{b}, *{b}, *{b}, *{b}]\n" for b, c in zip("abcdef", "bcdefg", strict=True)
    )
    started = time.process_time()
    _, findings = findings_of(tmp_path, bomb)
    assert time.process_time() - started < 1
    assert {"alias", "anchor"} <= set(rules(findings))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000, "? " * 20_000])
def test_deep_nesting_is_refused_early(text: str) -> None:
    started = time.process_time()
    sources, findings = parse(text, "deep.yaml")
    assert time.process_time() - started < 2
    assert set(rules(findings)) - {"key"} == {"too-deep"}
    assert [source.lost for source in sources] == [True]


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "a: \x07",
        "a: '",
        '"\\x',
        "%TAG ! tag:x\n",
        "a: b: c",
        "\t- a",
        "a: |\n\tb",
        "&",
        "*",
        "!",
        "? ",
        "- -\n -",
    ],
)
def test_faulty_text_gives_findings_and_never_an_exception(tmp_path: Path, text: str) -> None:
    _, findings = findings_of(tmp_path, text)
    assert findings
    assert all(finding.line >= 1 for finding in findings)


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    _, findings = findings_of(tmp_path, "#" * (MAX_BYTES + 1))
    assert rules(findings) == ["too-large"]


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"kind: \xff\xfe")
    _, findings = read(tmp_path)
    assert [(f.rule, f.file) for f in findings] == [("unreadable", str(tmp_path / "a.yaml"))]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("{kind: role, name: x}")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.yaml").symlink_to(tmp_path / "secret.yaml")
    model, findings = read(inside)
    assert rules(findings) == ["unreadable"]
    assert model.documents == ()


def test_a_table_cannot_name_a_file_outside(tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text("k,v\n1,2\n")
    inside = tmp_path / "inside"
    inside.mkdir()
    write(inside, "kind: table\nname: t\nkey: [k]\nvalue: v\nfile: ../outside.csv\n")
    model, findings = read(inside)
    assert rules(findings) == ["unreadable"]
    assert model.tables == {}


def test_a_folder_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    model, findings = read(tmp_path / "nowhere")
    assert rules(findings) == ["unreadable"]
    assert model.documents == ()


# ------------------------------------------------------------------ scalars


def test_numbers_are_exact_and_words_are_yaml_1_2() -> None:
    values = ["1", "-7", "0x1f", "0o17", "1.50", "1e3", "true", "yes", "on", "2026-01-01", "1_000", "012"]
    assert [resolve(value) for value in values] == [
        1, -7, 31, 15, Decimal("1.50"), Decimal("1e3"), True, "yes", "on", "2026-01-01", "1_000", 12,
    ]  # fmt: skip
    assert not any(isinstance(resolve(value), float) for value in values)


def test_brackets_are_counted_outside_quotes() -> None:
    assert unbalanced("=f('(', a[0], {'x': 1})") is None
    assert unbalanced("=f(a") == 2
    assert unbalanced("=f(a))") == 5
    assert unbalanced("=f(a]") == 4


# ------------------------------------------------------------------ places


def test_two_faulty_documents_of_one_file_are_both_reported(tmp_path: Path) -> None:
    _, findings = findings_of(
        tmp_path, "kind: role\nname: [a\n---\nkind: role\nname: b\n---\nkind: role\nname: {c\n"
    )
    assert [(f.rule, f.line) for f in findings] == [("syntax", 2), ("syntax", 8)]


def test_documents_after_an_end_marker_are_read(tmp_path: Path) -> None:
    model, findings = findings_of(tmp_path, "kind: role\nname: a\n...\nkind: role\nname: b\n")
    assert findings == []
    assert set(model.roles) == {"a", "b"}


def test_a_finding_in_a_formula_points_at_the_character(tmp_path: Path) -> None:
    text, _ = plant('total: "=minor(body.total, c)"', 'total: "=minor(body.total, cc)"', "(body.total, cc)")
    _, (finding,) = findings_of(tmp_path, text)
    line = text.splitlines()[finding.line - 1]
    assert line[finding.column - 1 :].startswith("cc)")


def test_a_finding_in_a_folded_formula_points_at_its_line(tmp_path: Path) -> None:
    text, _ = plant(
        "assert: data.amount.minor >= 0", "assert: >-\n  data.amount.minor\n  >= 'x'", "assert: >-"
    )
    _, (finding,) = findings_of(tmp_path, text)
    assert text.splitlines()[finding.line - 1] == "assert: >-"


def test_an_unknown_key_is_reported_with_the_nearest_that_exists(tmp_path: Path) -> None:
    text, _ = plant("    reserve: credit-limit", "    reserves: credit-limit", "reserves")
    _, (finding,) = findings_of(tmp_path, text)
    assert finding.fix == "did you mean `reserve`?"


def test_a_wrong_name_is_reported_with_the_nearest_that_exists(tmp_path: Path) -> None:
    text, _ = plant("call: erp.credit.post", "call: erp.credit.pots", "pots")
    _, (finding,) = findings_of(tmp_path, text)
    assert finding.fix == "did you mean `erp.credit.post`?"


def test_a_finding_reads_as_file_line_rule_message() -> None:
    finding = Finding("null", "no value", "a.yaml", 3, 7)
    assert str(finding) == "a.yaml:3: null: no value"
    assert (
        sorted(
            [Finding("b", "", "b.yaml", 1), Finding("a", "", "a.yaml", 10), Finding("a", "", "a.yaml", 9)]
        )[0].line
        == 9
    )
    assert errors([finding, Finding("x", "", "a", 1, 1, "warning")]) == [finding]


def test_every_mistake_of_a_folder_is_reported_at_once(tmp_path: Path) -> None:
    text = edited(COMPANY, ("deadline: 20d", "deadline: soon"), ("role: erp", "role: ledger"))
    text = text.replace("legal_name: string", "legal_name: text").replace("quarter]", "quarter, ]]")
    _, findings = findings_of(tmp_path, text)
    assert rules(findings) == ["wrong-value", "wrong-value", "syntax", "wrong-value"]


def test_a_broken_document_is_not_called_missing(tmp_path: Path) -> None:
    text, line = plant(
        "name: careful\nfailure:\n  transient: retry",
        "name: careful\nfailure:\n  transient: try",
        "transient: try",
    )
    _, findings = findings_of(tmp_path, text)
    assert [(f.rule, f.line) for f in findings] == [("wrong-value", line)]


def test_sub_folders_are_read_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("a", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.yml").write_text(f"{{kind: role, name: {name.strip('.')}}}")
    model, findings = read(tmp_path)
    assert findings == []
    assert set(model.roles) == {"a"}


# ------------------------------------------------------------------ tables beside the files

TABLE = "kind: table\nname: t\nowner: finance\nkey: [k]\nvalue: v\nvalid_from: since\nfile: t.csv\n---\n{kind: role, name: finance}\n"


@pytest.mark.parametrize(
    ("csv", "line"),
    [
        ("k,v,since\na,1,2026-01-01\nb,,2026-01-01\n", 3),
        ("k,v,since\na,1,2026-01-01\na,2,2026-01-01\n", 3),
        ("k,v,since\na,1,yesterday\n", 2),
        ("k,v,since\na,1\n", 2),
        ("k,v,k\n", 1),
        ('k,v,since\n"a\nb",1,2026-01-01\nc,1,x\n', 4),
    ],
)
def test_a_faulty_row_is_reported_with_the_line_of_the_csv(tmp_path: Path, csv: str, line: int) -> None:
    (tmp_path / "t.csv").write_text(csv)
    _, findings = findings_of(tmp_path, TABLE)
    assert [(f.rule, Path(f.file).name, f.line) for f in findings] == [("table-row", "t.csv", line)]


@pytest.mark.parametrize(
    ("csv", "line", "message"),
    [
        ("k;v;since\na;1;2026-01-01\n", 1, "the header has no column `k`; it has: k;v;since"),
        ("k,v\na,1\n", 1, "the header has no column `since`; it has: k, v"),
        ("k,v,since\na,1,2026-01-01\nb ,2,2026-01-01\n", 3, "there is a blank before or after `b`"),
        ("k,v,since\na,\u00a01,2026-01-01\n", 2, "there is a blank before or after `1`"),
    ],
)
def test_a_csv_that_would_be_looked_up_in_vain_is_reported(
    tmp_path: Path, csv: str, line: int, message: str
) -> None:
    (tmp_path / "t.csv").write_text(csv, encoding="utf-8")
    _, findings = findings_of(tmp_path, TABLE)
    assert [(f.rule, f.line, f.message) for f in findings] == [("table-row", line, message)]


def test_a_csv_as_spreadsheets_write_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes('\ufeffk,v,since\r\n"a, b",1,2026-01-01\r\n'.encode())
    model, findings = findings_of(tmp_path, TABLE)
    assert not findings
    assert model.lookup_table("t", ["a, b"], date(2026, 1, 1)) == "1"
    assert model.lookup_table("t", ["a, b"], date(2025, 12, 31)) is None
    (tmp_path / "t.csv").write_bytes("k,v,since\nä,1,2026-01-01\n".encode("latin-1"))
    assert [(f.rule, f.message) for f in findings_of(tmp_path, TABLE)[1]] == [
        ("unreadable", "the file is not UTF-8 text")
    ]


def test_rows_of_a_csv_are_part_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("k,v,since\na,1,2026-01-01\n")
    first, _ = findings_of(tmp_path, TABLE)
    (tmp_path / "t.csv").write_text("k,v,since\na,2,2026-01-01\n")
    second, _ = read(tmp_path)
    assert first.digest != second.digest


def test_a_table_has_a_file_or_rows(tmp_path: Path) -> None:
    _, findings = findings_of(tmp_path, TABLE.replace("file: t.csv", "file: t.csv\nrows: []"))
    assert rules(findings) == ["table-row"]


# ------------------------------------------------------------------ canonical form


def test_digest_does_not_depend_on_comments_order_or_files(tmp_path: Path) -> None:
    documents = COMPANY.split("---\n")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write(tmp_path / "one", COMPANY)
    for number, document in enumerate(reversed(documents)):
        write(tmp_path / "two", f"# a comment\n\n{document}", f"{number}.yaml")
    (swapped,) = (f for f in (tmp_path / "two").iterdir() if "kind: role, name: finance" in f.read_text())
    swapped.write_text(swapped.read_text().replace("kind: role, name: finance", "name: finance, kind: role"))
    one, two = read(tmp_path / "one")[0], read(tmp_path / "two")[0]
    assert one.digest == two.digest
    assert one.workflow("credit").digest == two.workflow("credit").digest


def test_digest_of_a_closure_changes_only_with_documents_that_the_workflow_uses(tmp_path: Path) -> None:
    def digest(old: str, new: str) -> str:
        assert old in COMPANY
        return findings_of(tmp_path, edited(COMPANY, (old, new)))[0].workflow("credit").digest

    base = digest("deadline: 20d", "deadline: 20d")
    assert digest("deadline: 20d", "deadline: 21d") != base
    assert digest("refused: park\n  unknown", "refused: undo\n  unknown") != base
    assert digest("number: =input.credit", "number: =run.id") != base
    assert digest("legs: {gross: input.amount}", "legs: {gross: -input.amount}") != base
    # Bound late: matrices, limits' sums, tables, roles.
    assert digest("up_to: 1000, roles: [finance]", "up_to: 2000, roles: [finance]") == base
    assert digest("at_most: 5000", "at_most: 6000") == base
    assert digest("rate: 0.2", "rate: 0.3") == base


def test_digest_of_an_approval_policy_changes_with_its_matrix(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return findings_of(tmp_path, text)[0].workflow("credit").approvals["credit-approval"].digest

    assert digest(COMPANY) != digest(edited(COMPANY, ("up_to: 1000", "up_to: 2000")))


def test_bytes_that_are_not_a_stored_model_are_refused() -> None:
    with pytest.raises(Misconfigured):
        Model.from_json(b'[{"kind": "role"}]')
    with pytest.raises(Misconfigured):
        Model.from_json(b"nonsense")


def test_a_workflow_that_check_refuses_does_not_compile(tmp_path: Path) -> None:
    text, _ = plant("call: erp.credit.post", "call: erp.credit.pots", "pots")
    model, _ = findings_of(tmp_path, text)
    with pytest.raises(Misconfigured, match="run check"):
        model.workflow("credit")


def test_delivery_types_with_wildcards_accept_the_prefix(tmp_path: Path) -> None:
    text, _ = plant("type: credit.issued}", "type: [credit.*, memo]}", "[credit.*")
    model, _ = findings_of(tmp_path, text)
    accepted = {
        t: bool(model.inbound("bills", t)) for t in ("credit.issued", "credit", "credits.issued", "memo", "x")
    }
    assert accepted == {
        "credit.issued": True,
        "credit": False,
        "credits.issued": False,
        "memo": True,
        "x": False,
    }
    assert model.inbound("ledger", "memo") == []


def test_a_hundred_files_are_checked_in_a_moment(tmp_path: Path) -> None:
    for number in range(100):
        text = re.sub(r"(?m)^name: (\w[\w-]*)$", rf"name: \g<1>-{number}", COMPANY.split("---\n")[-1])
        write(tmp_path, text, f"w{number}.yaml")
    write(tmp_path, COMPANY, "company.yaml")
    started = time.process_time()
    _, findings = read(tmp_path)
    elapsed = time.process_time() - started
    assert findings == []
    assert elapsed < 3, "seconds of processor time; it takes about 0.6"


# ------------------------------------------------------------------ patterns

PATTERN = """\
{kind: role, name: agent}
---
kind: pattern
name: plan
parameters: {who: a list of roles, limit: {default: 5}}
body: {kind: alert, when: "x.minor > ${limit}", to: "${who}"}
---
kind: alert
name: first
pattern: {name: plan, with: {who: [agent]}}
---
kind: alert
name: second
pattern: {name: plan, with: {who: [agent], limit: 7}}
when: x.minor == 0
"""


def test_a_pattern_gives_its_body_and_the_user_keeps_its_own_keys(tmp_path: Path) -> None:
    model, findings = findings_of(tmp_path, PATTERN)
    assert {f.rule for f in findings} == {"not-executed"}  # alerts are only read
    alerts = model.of_kind(Alert)
    assert {name: (alert.when, alert.to) for name, alert in alerts.items()} == {
        "first": ("x.minor > 5", ["agent"]),
        "second": ("x.minor == 0", ["agent"]),
    }
    assert Model.from_json(model.to_json()).digest == model.digest


STEPS = """\
---
kind: pattern
name: pay
parameters:
  amount: {type: formula, doc: what is paid}
  why: {type: text, enum: [small, large], default: small}
  more: {type: bool, default: true}
steps:
  - call: billing.credit.issue
    with: {customer: =event.data.customer_id, amount: "=${amount} * 2", reason: error}
    when: ${more}
  - stop: ${why}
---
"""


def with_steps(use: str, steps: str = STEPS) -> str:
    text = edited(COMPANY, ("otherwise: [{stop: small}]", f"otherwise:\n      - {use}"))
    return text.replace("---\nkind: workflow\n", steps + "kind: workflow\n", 1)


def test_steps_of_a_pattern_stand_in_its_place_and_a_formula_stays_one_operand(tmp_path: Path) -> None:
    model, findings = findings_of(
        tmp_path, with_steps("{pattern: pay, with: {amount: amount + amount, why: large}}")
    )
    assert [str(f) for f in findings] == []
    (choose,) = (step for step in model.workflows["credit"].steps if isinstance(step, Choose))
    assert choose.otherwise is not None
    call, stop = choose.otherwise
    assert isinstance(call, Call)
    assert call.with_["amount"] == "=(amount + amount) * 2"
    assert call.when == "true"
    assert stop == StopVerb(stop="large")


def test_a_fault_in_a_patterns_step_is_reported_at_its_use_and_names_the_line(tmp_path: Path) -> None:
    text = with_steps(
        "{pattern: pay, with: {amount: amount}}  #!", STEPS.replace("customer: =event", "buyer: =event")
    )
    _, findings = findings_of(tmp_path, text)
    lines = text.splitlines()
    use = next(n for n, line in enumerate(lines, 1) if "#!" in line)
    wrong = next(n for n, line in enumerate(lines, 1) if "buyer" in line)
    assert {f.line for f in findings} == {use}
    assert f"there is no field `buyer` (pattern `pay`, {tmp_path / 'company.yaml'}:{wrong})" in {
        f.message for f in findings
    }


def test_a_fault_in_a_parameters_value_is_reported_at_the_value(tmp_path: Path) -> None:
    pattern = STEPS.replace("=${amount} * 2", "${amount}").replace("type: formula, ", "")
    text = with_steps("pattern: pay\n        with:\n          amount: =event.data.reason  #!", pattern)
    _, findings = findings_of(tmp_path, text)
    use = next(n for n, line in enumerate(text.splitlines(), 1) if "#!" in line)
    assert {(f.rule, f.line) for f in findings} == {("input-mismatch", use), ("covers-incomplete", use)}


def test_places_after_a_pattern_are_those_of_the_file(tmp_path: Path) -> None:
    text = edited(
        COMPANY,
        ("  - wait: {foils: all, until: +2d}", "  - {pattern: two}\n  - wait: {foils: al, until: +2d}  #!"),
    )
    text += "---\nkind: pattern\nname: two\nsteps: [{check: 'true'}, {check: 'amount.minor > 1'}]\n"
    _, findings = findings_of(tmp_path, text)
    line = next(n for n, written in enumerate(text.splitlines(), 1) if "#!" in written)
    assert {f.line for f in findings} == {line}


@pytest.mark.parametrize(
    "text",
    [
        "kind: pattern\nname: p\nbody: {kind: [alert]}\n",
        "kind: alert\nname: a\npattern: {name: [p], with: {}}\n",
        "kind: alert\nname: a\npattern: {name: p, with: [1]}\n",
        "kind: pattern\nname: p\nparameters: [x]\nbody: {kind: alert}\n",
        "kind: pattern\nname: p\nparameters: {x: {enum: [[1]]}}\nbody: {kind: alert, to: ['${x}']}\n---\nkind: alert\nname: a\npattern: {name: p, with: {x: {y: 1}}}\n",
        "kind: workflow\nname: w\nsteps: [{pattern: {a: 1}}, {pattern: p, with: 3}]\nsignals: [3, {do: 4}]\n",
        "kind: workflow\nname: w\nsteps: [{choose: [3], outcomes: [1], do: {a: 1}}, {pattern: p}]\n",
    ],
)
def test_a_malformed_pattern_is_a_finding_and_never_an_exception(tmp_path: Path, text: str) -> None:
    _, findings = findings_of(tmp_path, text)
    assert findings


def test_a_small_pattern_cannot_grow_a_large_document(tmp_path: Path) -> None:
    body = ", ".join(['"${x}"'] * 20_000)
    text = f"kind: pattern\nname: big\nparameters: {{x: text}}\nbody: {{kind: alert, to: [{body}]}}\n"
    text += f"---\nkind: alert\nname: a\npattern: {{name: big, with: {{x: {'y' * 1000}}}}}\n"
    started = time.process_time()
    _, findings = findings_of(tmp_path, text)
    assert [f.rule for f in findings] == ["too-large"]
    assert time.process_time() - started < 2


# ------------------------------------------------------------------ the parser

SAMPLES = [
    COMPANY,
    *(
        path.read_text(encoding="utf-8")
        for path in sorted((Path(__file__).parent / "language").glob("*.yaml"))
    ),
    "a: |\n  text\n  more\nb: >-\n  folded\n\n  text\nc: 'it''s'\nd: \"\\u00e9\\n\"\n",
    "? complex\n: value\nnot: here\n",
    "a: [1, {b: c, ? d : e}, 'f', ]\n# comment\nb: x # y\r\nc: z\r\n",
    "a: plain text\n   over lines\nb: [plain\n  over, lines]\n",
    "a: &x !!str 1\nb: *x\n...\n--- >\n folded\n",
    "\ufeffa: ü\nb: x\u2028y\n",
    "a:\n- b\n-\n  - c\n- d: e\n  f:\n",
]


PLAIN_SAMPLES = SAMPLES[:-7]
DIFFERENT = re.compile(
    r"""^(?:--- *)?[ \n]*[|>]|[|>]-?(?:\#|\s*\n[ ]*\n)|:[\[\]{},?:]|(?:^|[\s-]):(?:\s|$)|["']:\S|[,:{\[] *:|[,{\[:-] *[&!*]""",
    re.MULTILINE,
)
"""Text that the two parsers may read differently; decision 0018 lists the cases."""


def outline(parsed: Iterator[Any]) -> list[tuple[Any, ...]] | None:
    """Events with their start and value; None for text that is refused. The place of an empty value differs."""
    events = []
    try:
        for event in parsed:
            value, style = getattr(event, "value", None), getattr(event, "style", None) or ""
            mark = event.start_mark
            place = (
                None
                if (value == "" and not style) or "End" in type(event).__name__
                else (mark.line, mark.column)
            )
            events.append((type(event).__name__, place, value, style, getattr(event, "anchor", None)))
    except (RuamelError, YamlSyntaxError):
        return None
    return events


def ruamel(text: str) -> Iterator[Any]:
    return YAML(typ="safe", pure=True).parse(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize("text", SAMPLES)
def test_the_parser_gives_the_events_of_a_second_parser(text: str) -> None:
    assert outline(parse_events(text)) == outline(ruamel(text))
    assert outline(parse_events(text)) is not None


def mutants(seed: int) -> Iterator[str]:
    """Parts of the samples with some characters added, removed or replaced."""
    random = Random(seed)
    pieces = [
        *"ab1 :,-[]{}?#|>'\"=.~\n",
        "\n  ",
        "\n- ",
        ": ",
        " #",
        "---",
        "|\n",
        ">-\n",
        "é",
        "null",
        "true",
        "0x1f",
    ]
    for _ in range(150):
        text = random.choice(PLAIN_SAMPLES)
        start = random.randrange(len(text))
        text = text[text.rfind("\n", 0, start) + 1 : start + 300]
        for _ in range(random.choice([1, 1, 2, 4])):
            at = random.randrange(len(text) + 1)
            text = text[:at] + random.choice(["", random.choice(pieces)]) + text[at + random.randrange(2) :]
        yield text


@pytest.mark.parametrize("seed", range(12))
def test_mutated_text_gives_the_events_of_a_second_parser(seed: int) -> None:
    texts = [text for text in mutants(seed) if not DIFFERENT.search(text)]
    assert len(texts) > 30
    for text in texts:
        assert outline(parse_events(text)) == outline(ruamel(text)), text


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("a:\tb\n", True),
        ("a: b\tc\n", True),
        ("a: b\t# c\n", True),
        ("\ta: b\n", True),
        ("-\ta\n", True),
        ("a: {b: c\td}\n", True),
        ("a: b # c\td\n", False),
        ("a: {b:\tc}\n", False),
        ("a: 'b\tc'\n", False),
        ("a: |\n  b\tc\n", False),
    ],
)
def test_a_tab_separates_only_where_yaml_1_2_readers_accept_it(text: str, refused: bool) -> None:
    assert (outline(ruamel(text)) is None) == refused
    sources, findings = parse(text, "a.yaml")
    assert [(f.rule, f.line, f.column) for f in findings] == (
        [("syntax", 1, text.index("\t") + 1)] if refused else []
    )
    assert len(sources) == 1


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\ufeff"])
def test_line_breaks_of_yaml_1_1_are_ordinary_characters(character: str) -> None:
    text = f"a: x{character}y\nb: 'x{character}y'\nc: |\n  x{character}y\nd{character}: 1\n"
    (source,), findings = parse(text, "a.yaml")
    value = f"x{character}y"
    assert findings == []
    assert source.data == {"a": value, "b": value, "c": value + "\n", f"d{character}": 1}
    assert source.mark((f"d{character}",)).line == 5


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a: 1\nb:\nc: 2\n", [("null", 2, 3)]),
        ("a: 1\nb:", [("null", 2, 3)]),
        ("a: [1", [("syntax", 1, 6)]),
        ("a: [1\n", [("syntax", 1, 1)]),
        ("a: ü\nb: \x07\n", [("syntax", 2, 4)]),
        ("a: 1\n---\nb: \ud800\n", [("syntax", 3, 4)]),
        ("%YAML 1.1\n---\na: yes\n", [("directive", 2, 1)]),
        ("a: 1\na: 2\n", [("duplicate-key", 2, 1)]),
    ],
)
def test_findings_of_form_stand_at_the_character(text: str, places: list[tuple[str, int, int]]) -> None:
    _, findings = parse(text, "a.yaml")
    assert [(f.rule, f.line, f.column) for f in findings] == places


def test_a_number_in_a_key_is_the_same_however_it_is_written() -> None:
    rows = [{"percent": percent, "code": f"at {percent}"} for percent in ("8.25", "19.0", "0", "100")]
    rows.append({"percent": Decimal("7.0"), "code": "at 7"})
    table = Model.from_documents([
        {"kind": "table", "name": "codes", "key": ["percent"], "value": "code", "rows": rows}
    ]).tables["codes"]  # fmt: skip
    asked = ["8.250", "19.00", "0.0", "100", "1E+2", "7", "0.19"]
    found = [table.lookup([Decimal(percent)], date.max) for percent in asked]
    assert found == ["at 8.25", "at 19.0", "at 0", "at 100", "at 100", "at 7", None]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": [{"reason": "sla"}]}, "row 1: this row has no `account`"),
        ({"rows": [{"account": "4000"}]}, "row 1: this row has no `reason`"),
        ({"rows": [{"reason": "sla", "account": "1"}, {"reason": "sla", "account": "2"}]}, "row 2"),
        ({"rows": [{"reason": "sla", "account": ["1"]}]}, "row 1: `account` must be a single value"),
        ({"rows": [{"reason": "sla", "account": "1", "from": "soon"}]}, "row 1: `from` is not a date"),
        ({"rows": None}, "has `rows`"),
        ({"rows": None, "file": "gl.csv"}, "has `rows`"),
    ],
)
def test_canonical_table_whose_rows_no_look_up_can_use_is_refused(change: Any, says: str) -> None:
    """A plan gets its model over HTTP; nothing else has read the rows."""
    table = {"kind": "table", "name": "gl", "key": ["reason"], "value": "account", "valid_from": "from"}
    rows = [{"reason": "sla", "account": "4890", "from": "2026-01-01"}]
    assert Model.from_documents([{**table, "rows": rows}]).tables["gl"].lookup(["sla"], date.max) == "4890"
    with pytest.raises(Misconfigured, match=re.escape(says)):
        Model.from_documents([{k: v for k, v in {**table, **change}.items() if v is not None}])
