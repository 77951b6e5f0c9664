"""Type checks against JSON Schemas: certain errors are found, open parts fit everywhere."""

import pytest

from counterfoil.expr import ExpressionError, compile

INVOICE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "status": {"enum": ["draft", "open", "paid"]},
        "kind": {"const": "invoice"},
        "open": {"x-type": "money"},
        "total": {"$ref": "#/$defs/money"},
        "due": {"type": "string", "format": "date"},
        "at": {"type": ["string", "null"], "format": "date-time"},
        "term": {"type": "string", "format": "duration"},
        "rate": {"type": "string", "format": "decimal"},
        "n": {"type": "integer"},
        "q": {"type": "number"},
        "flag": {"type": "boolean"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "payer": {
            "anyOf": [{"type": "null"}, {"type": "object", "properties": {"name": {"type": "string"}}}]
        },
        "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "open_map": {"type": "object", "additionalProperties": {"type": "integer"}},
        "loose": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        "both": {
            "allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "integer"}}}]
        },
        "choice": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "anyOf": [{"required": ["a"]}, {"properties": {"b": {"type": "integer"}}}],
            "then": {"properties": {"c": {"x-type": "money"}}},
        },
        "what": {},
    },
    "$defs": {
        "money": {"type": "object", "x-type": "money"},
        "line": {
            "type": "object",
            "properties": {
                "net": {"$ref": "#/$defs/money"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            },
        },
        "loop": {"$ref": "#/$defs/loop"},
    },
}
TYPES = {"inv": INVOICE, "x": {}, "list": {"type": "array", "items": {"$ref": "#"}}, "cycle": {"$ref": "#"}}


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("inv.open.minor > 0 && inv.status == 'open'", "bool"),
        ("inv.open", "money"),
        ("inv.total + inv.open * 2 - sum([])", "money"),
        ("inv.open > 0", "bool"),
        ("-inv.open", "money"),
        ("inv.due + days(3)", "date"),
        ("inv.at + inv.term", "timestamp"),
        ("inv.at - inv.at", "duration"),
        ("inv.rate * inv.n", "decimal"),
        ("inv.n * 2", "int"),
        ("inv.q + 1", "decimal or int"),
        ("inv.q == 1.5", "bool"),
        ("inv.lines", "list<map>"),
        ("inv.lines.map(l, l.net)", "list<money>"),
        ("sum(inv.lines.map(l, l.net))", "money"),
        ("inv.lines[0].children[0].children.filter(c, c.net > 0)", "list<map>"),
        ("inv.lines.exists(l, l.net.currency == 'USD')", "bool"),
        ("inv.payer.name", "string"),
        ("inv.either == 'a' || inv.either == 1", "bool"),
        ("inv.either + 1", "int"),
        ("inv.open_map.anything + 1", "int"),
        ("inv.loose.unknown", "dyn"),
        ("inv.both.a + string(inv.both.b)", "string"),
        ("inv.choice.a + string(inv.choice.b) + string(inv.choice.c)", "string"),
        ("inv.what.ever[0].it + 'x'", "string"),
        ("x.y.z && x > 3", "bool"),
        ("first(inv.due, date('2026-01-31'))", "date"),
        ("first(null, inv.n)", "int"),
        ("inv.flag ? inv.n : 2", "int"),
        ("min(inv.open, inv.total)", "money"),
        ("max([1, 2.5])", "decimal or int"),
        ("max(1, 2.5)", "decimal"),
        ("sum([1, 2])", "int"),
        ("abs(inv.n)", "int"),
        ("round(inv.open * 0.5 / 3, 'half_up')", "money"),
        ("round(inv.q / 3, 'half_up', 2)", "decimal"),
        ("round(inv.q, 'half_up', 'USD')", "money"),
        ("split_by_period(inv.open, x)[0].period", "string"),
        ("allocate(inv.open, inv.lines.map(l, l.net))", "list<money>"),
        ("inv['status']", "string"),
        ("fx(inv.open, 'EUR')", "money"),
        ("xref('customer', inv.id)", "dyn"),
        ("size(list[0][0][0])", "int"),
        ("cycle.a.b", "dyn"),
        ("{'a': 1}.a", "dyn"),
        ("inv.status in ['open', 'paid']", "bool"),
        ("inv.at == null || inv.open == null", "bool"),
    ],
)
def test_type_of(text, type_):
    assert compile(text, TYPES).type == type_


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inv.stauts", "no field 'stauts'; did you mean 'status'"),
        ("inv.lines.map(l, l.nett)", "no field 'nett'; did you mean 'net'"),
        ("inv.payer.nme", "did you mean 'name'"),
        ("inv.both.c", "no field 'c'"),
        ("inv.choice.d", "no field 'd'"),
        ("inv['nope']", "no field 'nope'"),
        ("has(inv.nope)", "no field 'nope'"),
        ("inv.open.cents", "no field 'cents'"),
        ("inv.n.foo", "an int has no field 'foo'"),
        ("unknown.a", "the name 'unknown' is not available"),
        ("inv.lines.map(l, m)", "the name 'm' is not available"),
        ("inv.open + 1", "the operator + does not apply to money and int"),
        ("inv.open + inv.id", "the operator + does not apply to money and string"),
        ("inv.open * 1.5", "rounded by a named rule"),
        ("inv.open / 2", "money divided must be rounded"),
        ("inv.open > 5", "cannot compare money with int"),
        ("inv.due < inv.at", "cannot compare date with timestamp"),
        ("inv.open == 5", "a money never equals an int"),
        ("inv.status == 'opne'", "'opne' is not one of: draft, open, paid"),
        ("'paid' != inv.kind", "'paid' is not one of: invoice"),
        ("inv.n == 'a'", "never equals"),
        ("inv.n in ['a']", "never in"),
        ("1 in inv.id", "right side of in"),
        ("inv.id && true", "&& takes true or false, not a string"),
        ("!inv.n", "! takes true or false"),
        ("inv.n ? 1 : 2", "? takes true or false"),
        ("inv.lines.filter(l, l.net)", "filter takes true or false, not a money"),
        ("inv.n.map(x, x)", "iterates over a list or a map"),
        ("inv.lines['a']", "cannot index"),
        ("-inv.id", "minus does not apply to a string"),
        ("inv.n.upperAscii()", "upperAscii() takes"),
        ("major(inv.n)", "major() takes (money), not (int)"),
        ("min(inv.open, 5)", "not (money, int)"),
        ("sum(['a'])", "not (list<string>)"),
        ("days(inv.q * 1.5)", "days() takes (int), not (decimal)"),
        ("round(inv.id, 'down')", "round() takes"),
        ("round(inv.id * 2, 'down')", "round() takes numbers and money, not a string"),
        ("{inv.n: 1}", "keys of a map must be strings"),
        ("split_by_period(inv.open, x)[0].perod", "did you mean 'period'"),
    ],
)
def test_what_is_certainly_wrong_is_found(text, message):
    with pytest.raises(ExpressionError) as error:
        compile(text, TYPES)
    assert message in error.value.findings[0].message
    assert compile(text.replace("unknown", "x")).type  # without types nothing is held against it


def test_findings_underline_the_field_and_come_all_at_once():
    with pytest.raises(ExpressionError) as error:
        compile("inv.stauts == 'x' &&\n  inv.open + 1 > inv.opne &&\n  inv.n", TYPES)
    assert [(f.rule, f.line, f.column, f.length) for f in error.value.findings] == [
        ("field", 1, 5, 6),
        ("type", 2, 3, 12),
        ("field", 2, 22, 4),
        ("type", 3, 3, 5),
    ]
    assert "stauts == 'x' &&\n    ^^^^^^" in str(error.value)


def test_an_expected_type_is_held():
    assert compile("inv.flag", TYPES, expect="bool").type == "bool"
    assert compile("x.any", TYPES, expect="bool").type == "dyn"
    with pytest.raises(ExpressionError, match="expected a bool, found a money"):
        compile("inv.open", TYPES, expect="bool")
    with pytest.raises(ExpressionError, match="expected a money, found an int"):
        compile("1 + 1", expect="money")


def test_lookups_can_be_refused():
    with pytest.raises(ExpressionError, match="look-ups are not allowed here") as error:
        compile("head('a') == xref('b', 1)", lookups=False)
    assert [f.rule for f in error.value.findings] == ["lookup", "lookup"]


def test_endless_schemas_end():
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}}
    assert compile("r.a", {"r": schema}).type == "dyn"


def test_thousands_of_wrong_names_are_found_without_long_comparisons():
    wide = {"properties": {f"a_field_with_a_long_name_{i}": {"type": "string"} for i in range(5_000)}}
    text = " + ".join(f"[{', '.join(f'w.a_feld_{i}_{j}' for j in range(12))}]" for i in range(40))
    with pytest.raises(ExpressionError) as error:
        compile(text, {"w": wide})
    assert len(error.value.findings) == 480
