"""Decisions are pure and money is exact: what may not stand in rules, expressions, the model and core."""

from __future__ import annotations

import ast
import re

import pytest

from tests.source import Module, modules, planted

PURE_FLOORS = {"rules", "expr", "model"}
# Reads the governance folder, which is what it is for.
READS_FILES = {"model/read.py"}

IMPURE_MODULES = frozenset(
    [
        "os",
        "sys",
        "time",
        "random",
        "secrets",
        "uuid",
        "socket",
        "asyncio",
        "pathlib",
        "subprocess",
        "logging",
        "threading",
        "multiprocessing",
        "concurrent",
        "signal",
        "select",
        "selectors",
        "ssl",
        "http",
        "urllib.request",
        "shutil",
        "tempfile",
        "glob",
        "sqlite3",
        "httpx",
        "httpx2",
        "requests",
        "apsw",
        "asyncpg",
    ]
)
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}
# Compiled expressions become Python code; the one place where `eval` or `exec` is the point.
COMPILES = {"expr/compile.py"}
CLOCK_CALLS = {"now", "utcnow", "today"}
CLOCK_OWNERS = {"datetime", "date", "dt", "time"}

MONEY_WORD = re.compile(
    r"(^|_)(money|amounts?|minor|currency|price|fee|net|gross|tax|exposure|credit|balance|total)(_|$)", re.I
)


def impure(module: Module) -> list[str]:
    """Imports and calls through which a decision could depend on anything but its arguments."""
    if module.floor not in PURE_FLOORS or str(module.path) in READS_FILES:
        return []
    findings = []
    for node, name in module.imports():
        if any(name == each or name.startswith(f"{each}.") for each in IMPURE_MODULES):
            findings.append(module.at(node, f"a pure module may not import {name}"))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
            findings.append(module.at(node, "a pure module may not read the environment"))
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in IMPURE_CALLS:
            if not (function.id in {"eval", "exec"} and str(module.path) in COMPILES):
                findings.append(module.at(node, f"a pure module may not call {function.id}()"))
        elif isinstance(function, ast.Attribute) and function.attr in CLOCK_CALLS:
            owner = function.value
            word = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if word.lower() in CLOCK_OWNERS:
                findings.append(
                    module.at(node, f"`now` is a parameter of every rule: {word}.{function.attr}()")
                )
    return findings


def inexact(module: Module) -> list[str]:
    """Floats near money. The expression language and core/money.py have no float at all; elsewhere in core and
    rules a float may be seconds, but not in a function, or a statement outside one, that speaks of money."""
    if module.floor not in {"core", "rules", "expr"}:
        return []
    everywhere = module.floor == "expr" or str(module.path) == "core/money.py"
    findings = []
    for scope in _scopes(module.tree):
        nodes = list(_own(scope))
        floats = [node for node in nodes if _is_float(node)]
        if floats and (everywhere or any(MONEY_WORD.search(word) for word in _words(nodes))):
            findings += [module.at(node, "a float near money") for node in floats]
    return findings


def _scopes(tree: ast.Module) -> list[ast.AST]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    blocks: list[ast.Module | ast.ClassDef] = [tree]
    blocks += [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    loose = [
        statement
        for block in blocks
        for statement in block.body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    return [*functions, *loose]


def _own(scope: ast.AST) -> list[ast.AST]:
    """The nodes of a scope without those of the functions inside it."""
    nodes, waiting = [], [scope]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += [
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    return nodes


def _is_float(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "float"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return isinstance(node.right, ast.Constant) and node.right.value in {100, 1000}
    return False


def _words(nodes: list[ast.AST]) -> set[str]:
    words = set()
    for node in nodes:
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                words.add(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", value).lower())
    return words


def test_decisions_depend_on_their_arguments_alone() -> None:
    assert [finding for module in modules() for finding in impure(module)] == []


def test_no_float_stands_near_money() -> None:
    assert [finding for module in modules() for finding in inexact(module)] == []


@pytest.mark.parametrize("name", sorted(IMPURE_MODULES))
def test_a_planted_impure_import_is_found(name: str) -> None:
    assert impure(planted("rules/workflow/decide.py", f"import {name}")) != []
    assert impure(planted("model/checks/names.py", f"from {name} import something")) != []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("rules/workflow/decide.py", "from datetime import datetime\nx = datetime.now()"),
        ("rules/workflow/decide.py", "import datetime\nx = datetime.datetime.utcnow()"),
        ("rules/posting_date.py", "from datetime import date\nx = date.today()"),
        ("rules/workflow/decide.py", "with open('x') as f: pass"),
        ("rules/workflow/decide.py", "def f(o):\n    return o.environ['X']"),
        ("expr/parse.py", "x = eval('1')"),
        ("model/model.py", "from pathlib import Path"),
        ("model/index.py", "import os.path"),
    ],
)
def test_a_planted_impure_call_is_found(path: str, line: str) -> None:
    assert impure(planted(path, line)) != []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (
            "rules/workflow/decide.py",
            "from datetime import datetime, timedelta\ndef f(now): return now + timedelta(days=1)",
        ),
        ("model/read.py", "from pathlib import Path"),
        ("store/sql/sqlite.py", "import time"),
        ("expr/compile.py", "exec(compile('x = 1', 'x', 'exec'))"),
    ],
)
def test_what_is_pure_or_elsewhere_is_let_through(path: str, line: str) -> None:
    assert impure(planted(path, line)) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/money.py", "x = 0.5"),
        ("expr/functions.py", "def f(x): return float(x)"),
        ("rules/approval_matrix.py", "def limit(amount): return float(amount)"),
        ("rules/approval_matrix.py", "CREDIT_LIMIT = 100.0"),
        ("rules/matching.py", "def show(money): return money.minor / 100"),
        ("core/foil.py", "class Foil:\n    exposure = 0.0"),
    ],
)
def test_a_planted_float_is_found(path: str, line: str) -> None:
    assert inexact(planted(path, line)) != []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("rules/workflow/retry.py", "def wait(attempt): return 0.5 * attempt"),
        ("core/errors.py", "def after(seconds=1.0): ...\ndef other(amount): return amount"),
        ("web/pages/pages.py", "def width(amount): return 0.5"),
    ],
)
def test_seconds_may_be_floats(path: str, line: str) -> None:
    assert inexact(planted(path, line)) == []
