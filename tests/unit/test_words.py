"""The style guide as tests: plain names, plain prose, small functions, packages that say what they are for."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.source import ROOT, SOURCE, Module, modules, planted

BANNED_NAMES = frozenset(
    [
        "told",
        "held",
        "asked",
        "made",
        "kept",
        "found",
        "given",
        "known",
        "taken",
        "begun",
        "seen",
        "said",
        "shown",
        "wanted",
        "gone",
        "odd",
    ]
)
"""Participles and fillers that name no thing. Fields of stored records are exempt: their names are data."""

BANNED_PROSE = re.compile(
    r"\b(for ever|anew|save for|by the batch|what became of|in good time|whoever|nobody|somebody|everybody"
    r"|thereof|manieth|gone round|lest|whence|tells of|told|nothing is to be)\b",
    re.I,
)
QUESTION = re.compile(r"(What|Whether|Who|Whose|How|Which|Where|When|Why)\b")
MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 450

UNITS = frozenset(
    [
        "SECONDS",
        "MS",
        "MINUTES",
        "HOURS",
        "DAYS",
        "BYTES",
        "RATIO",
        "SHARE",
        "FACTOR",
        "DEPTH",
        "LENGTH",
        "PORT",
        "LOCK",
        "VERSION",
        "STATUS",
        "CODE",
        "MIN",
        "MAX",
    ]
)
"""Last words of a numeric constant; a plural noun (ATTEMPTS, ROWS) says its unit as well."""

FLOAT_UNITS = frozenset(["SECONDS", "MS", "MINUTES", "HOURS", "DAYS", "RATIO", "SHARE", "FACTOR", "TOKENS"])

COMPILED = "its source in model/kinds, its compiled form in model/definition"
KIND = "a kind of governance file, named as in the editor schema, and what the engine makes of it"
BORNE_TWICE = {
    **dict.fromkeys(
        ["Approve", "Call", "Check", "Choose", "Each", "Emit", "Fact", "Invariant", "Signal", "Start"],
        COMPILED,
    ),
    **dict.fromkeys(["StepBase", "Wait"], COMPILED),
    **dict.fromkeys(["Approval", "Event"], KIND),
    "Change": "a kind of policy, and the public name of a contract's change",
}
"""Class names that two things may bear, with the reason."""

DATA_WORDS = {"contracts/lint/vocabulary.py", "flow/gateway/calls.py"}
"""Modules in which a banned word is data: a participle that lint looks for, the stored word of an answer."""

CODE_WORD = re.compile(r"`[\w.-]+`")
"""A single word in code style on a page: the value of a label or field, which is data."""


def bindings(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Every name that the module gives: types, functions, parameters and variables; not fields of records."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, node.name
        elif isinstance(node, ast.arg):
            yield node, node.arg
    fields = {
        id(statement.target)
        for owner in ast.walk(module.tree)
        if isinstance(owner, ast.ClassDef)
        for statement in owner.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node, node.id


def banned_names(module: Module) -> list[str]:
    stem = module.path.stem
    return [
        module.at(node, f"{name!r} names no thing; see docs/style.md")
        for node, name in [(module.tree, stem), *bindings(module)]
        if name.strip("_").lower() in BANNED_NAMES
    ]


def banned_prose(name: str, text: str) -> list[str]:
    return [
        f"{name}:{number}: {match.group()!r}; see docs/style.md"
        for number, line in enumerate(text.splitlines(), 1)
        for match in BANNED_PROSE.finditer(line)
    ]


def question_docstrings(module: Module) -> list[str]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [
        module.at(node, f"a docstring begins with a question: {text[:40]!r}")
        for node in ast.walk(module.tree)
        if isinstance(node, kinds)
        for text in [ast.get_docstring(node) or ""]
        if QUESTION.match(text)
    ]


def long_functions(module: Module) -> list[str]:
    return [
        module.at(node, f"{node.name} has {lines} lines, {MAX_FUNCTION_LINES} are allowed")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for lines in [(node.end_lineno or 0) - node.lineno + 1]
        if lines > MAX_FUNCTION_LINES
    ]


def package_without_a_sentence(module: Module) -> list[str]:
    bare = module.path.name == "__init__.py" and not ast.get_docstring(module.tree)
    return [f"{module.path}:1: a package says in one sentence what it is for"] if bare else []


def constants_without_unit(module: Module) -> list[str]:
    return [
        module.at(node, f"{name} ends in no unit")
        for node in module.tree.body
        for name, value in _constants(node)
        if _is_number(value) and not _has_unit(name, value)
    ]


def _constants(node: ast.stmt) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        return [(t.id, node.value) for t in node.targets if isinstance(t, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return [(node.target.id, node.value)]
    return []


def _is_number(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) and _is_number(value.right)
    if isinstance(value, ast.UnaryOp):
        return _is_number(value.operand)
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


def _has_unit(name: str, value: ast.expr) -> bool:
    last = name.strip("_").rpartition("_")[2]
    if any(isinstance(part, ast.Constant) and type(part.value) is float for part in ast.walk(value)):
        return last in FLOAT_UNITS
    return last in UNITS or last.endswith("S")


def class_names_borne_twice(all_modules: Sequence[Module]) -> dict[str, list[str]]:
    bearers: dict[str, list[str]] = defaultdict(list)
    for module in all_modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                bearers[node.name].append(module.name)
    return {name: places for name, places in sorted(bearers.items()) if len(places) > 1}


def prose_files() -> list[Path]:
    """Source, templates and documents; decisions are records of their day and stay as they were written."""
    documents = [
        p for p in (ROOT / "docs").rglob("*.md") if "decisions" not in p.parts and p.name != "style.md"
    ]
    pages = list(SOURCE.rglob("*.html"))
    tops = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*documents, *pages, *tops]


def test_names_name_things() -> None:
    assert [finding for module in modules() for finding in banned_names(module)] == []


def test_prose_is_plain() -> None:
    assert [
        finding
        for module in modules()
        if str(module.path) not in DATA_WORDS
        for finding in banned_prose(str(module.path), module.text)
    ] == []
    assert [
        f
        for file in prose_files()
        for f in banned_prose(file.relative_to(ROOT).as_posix(), CODE_WORD.sub("", file.read_text("utf-8")))
    ] == []


def test_docstrings_answer_and_do_not_ask() -> None:
    assert [finding for module in modules() for finding in question_docstrings(module)] == []


def test_functions_are_small() -> None:
    assert [finding for module in modules() for finding in long_functions(module)] == []


def test_packages_say_what_they_are_for() -> None:
    assert [finding for module in modules() for finding in package_without_a_sentence(module)] == []


def test_constants_end_in_their_unit() -> None:
    assert [finding for module in modules() for finding in constants_without_unit(module)] == []


def test_no_class_name_is_borne_by_two_things() -> None:
    borne = class_names_borne_twice(modules())
    assert sorted(borne) == sorted(BORNE_TWICE), borne


def test_planted_words_are_found() -> None:
    assert banned_names(planted("flow/x.py", "def f(held: int) -> None: ..."))
    assert banned_names(planted("flow/x.py", "found = 1"))
    assert banned_names(planted("flow/x.py", "class Told: ..."))
    assert banned_names(planted("flow/known.py", "x = 1"))
    assert not banned_names(planted("flow/x.py", "class Row:\n    kept: int"))
    assert banned_prose("x", "It is kept for ever.")
    assert not banned_prose("x", "It is kept forever.")
    assert not banned_prose("x", CODE_WORD.sub("", "The outcome is `told`."))
    assert banned_prose("x", CODE_WORD.sub("", "`worker` is told."))
    assert question_docstrings(planted("flow/x.py", 'def f():\n    """What is due."""'))
    assert not question_docstrings(planted("flow/x.py", 'def f():\n    """Return the due time."""'))


@pytest.mark.parametrize("lines", [MAX_FUNCTION_LINES, MAX_FUNCTION_LINES + 1])
def test_a_planted_long_function_is_found(lines: int) -> None:
    module = planted("flow/x.py", "def f():\n" + "    x = 1\n" * (lines - 1))
    assert bool(long_functions(module)) == (lines > MAX_FUNCTION_LINES)


def test_planted_packages_and_classes_are_found() -> None:
    assert package_without_a_sentence(planted("flow/new/__init__.py", "x = 1"))
    assert class_names_borne_twice([planted("a.py", "class A: ..."), planted("b.py", "class A: ...")])


@pytest.mark.parametrize("line", ["LEASE = 10", "WAIT: float = 2.5", "_MOST = 3 * 4", "EVERY_ROWS = 1.5"])
def test_a_planted_constant_without_unit_is_found(line: str) -> None:
    assert constants_without_unit(planted("flow/x.py", line))


@pytest.mark.parametrize(
    "line", ["LEASE_SECONDS = 10.0", "MAX_BYTES = 4 * 1024", "MAX_DEPTH = 3", "NAME = 'x'"]
)
def test_a_constant_with_its_unit_passes(line: str) -> None:
    assert not constants_without_unit(planted("flow/x.py", line))
