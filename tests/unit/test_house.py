"""House rules that hold for every file: where SQL and vendors may be named, names, lengths, what never ships."""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath

import pytest

from tests.source import ROOT, SOURCE, Module, modules, planted, tracked

LONGEST = 450

VENDORS = frozenset(
    [
        "stripe",
        "tryton",
        "trytond",
        "roundup",
        "zendesk",
        "netsuite",
        "salesforce",
        "hubspot",
        "chargebee",
        "zuora",
        "recurly",
        "paddle",
        "quickbooks",
        "xero",
        "freshdesk",
        "intercom",
        "jira",
        "servicenow",
        "shopify",
        "adyen",
        "braintree",
        "gocardless",
        "paypal",
        "okta",
        "auth0",
        "workday",
        "avalara",
        "odoo",
        "erpnext",
    ]
)
# Webhook signature schemes are known by the names of those who made them.
NAMES_SCHEMES = {"connectors/signature.py"}

LIKE_SQL = re.compile(
    r"""^\s*\(?\s*(
        select\s.+?\sfrom\s | with\s+(recursive\s+)?\w+\s*(\([^)]*\))?\s+as\s*(\w+\s+)?\(
      | insert\s+(or\s+\w+\s+)?into\s | update\s+\S+\s+set\s | delete\s+from\s
      | (create|drop)\s+(unique\s+|temp\w*\s+)?(table|index|view|trigger)\s | alter\s+table\s
      | pragma\s+\w+
    )""",
    re.I | re.S | re.X,
)

OTHER_DATABASES = ("connectors/query/", "connectors/files/row_index.py", "reconcile/large/")
"""Modules that speak to the database of another system, or to a scratch file of their own, never to the store."""

VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}

# Written in halves, so that this file does not hold what it forbids.
MAX_PICTURE_BYTES = 200_000
FORBIDDEN = re.compile(
    "|".join(
        [
            r"pypi\." + "org",
            "python" + "hosted",
            r"registry\." + "npmjs",
            r"(--)?(extra-)?index" + r"-url\s*[= ]\s*\S*//",
            "--find" + r"-links[= ]\S",
            "file:" + "//",
            r"(?<![\w.])/" + r"root/",
            r"(?<![\w.])/" + r"work/",
            r"(?<![\w.])/" + r"opt/(pypi|wheels)",
            r"(?<![\w.])/(home|Users)/" + r"[a-z]\w*/",
            "-----BEGIN [A-Z ]*" + "PRIVATE KEY",
        ]
    )
)


def vendor_names(path: PurePosixPath, text: str) -> list[str]:
    """Vendors named in a product file that is not that vendor's own folder."""
    if path.parts[0] == "demo" or str(path) in NAMES_SCHEMES:
        return []
    own = (
        path.parts[1].removesuffix(".py")
        if path.parts[0] in {"connectors", "twins"} and path.parts[1:]
        else ""
    )
    findings = []
    for number, line in enumerate(text.splitlines(), 1):
        for word in re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", line).lower()):
            if word in VENDORS and not (own and word.startswith(own)):
                findings.append(f"{path}:{number}: {word} belongs in its connector's folder")
    return findings


def sql_outside_store(module: Module) -> list[str]:
    """String literals, docstrings aside, that read like SQL and do not stand in store/.

    A twin is another system with a storage of its own, which it keeps in a module named `store`.
    """
    if module.floor == "store" or (module.floor == "twins" and module.path.stem == "store"):
        return []
    if module.path.as_posix().startswith(OTHER_DATABASES):
        return []
    prose = {
        id(node.value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        module.at(node, "SQL lives in store/ alone")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in prose
        and LIKE_SQL.match(node.value)
    ] + [
        module.at(node, "SQL lives in store/ alone")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.JoinedStr) and LIKE_SQL.match(_with_gaps(node))
    ]


def _with_gaps(node: ast.JoinedStr) -> str:
    """An f-string with a word in place of everything filled in."""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "filled" for part in node.values)


def vague_name(path: PurePosixPath) -> list[str]:
    """Folders and files named after nothing."""
    return [
        f"{path}: {word!r} says nothing about what is inside"
        for part in path.parts
        for word in re.split(r"[_.\-]", part)
        if word in VAGUE
    ]


def too_long(path: PurePosixPath, text: str) -> list[str]:
    lines = text.count("\n")
    return (
        [f"{path}: {lines} lines, {LONGEST} are allowed; look for the second idea"] if lines > LONGEST else []
    )


def never_ships(name: str, content: bytes) -> list[str]:
    """Places of one machine, hosts of package indexes, private keys, binaries."""
    if PurePosixPath(name).match("docs/images/*.png"):
        small = len(content) < MAX_PICTURE_BYTES and content.startswith(b"\x89PNG\r\n")
        return [] if small else [f"{name}: a picture is a PNG file below {MAX_PICTURE_BYTES} bytes"]
    if b"\0" in content:
        return [f"{name}: a binary file"]
    return [
        f"{name}:{number}: {match.group()!r} must not be in the project"
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1)
        for match in [FORBIDDEN.search(line)]
        if match
    ]


def product_files() -> list[Path]:
    return [file for file in sorted(SOURCE.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]


def test_vendors_are_named_in_their_own_folders_only() -> None:
    assert [
        finding
        for file in product_files()
        for finding in vendor_names(
            PurePosixPath(file.relative_to(SOURCE).as_posix()), file.read_text("utf-8", "replace")
        )
    ] == []


def test_sql_lives_in_the_store_alone() -> None:
    assert [finding for module in modules() for finding in sql_outside_store(module)] == []


def test_no_module_is_named_after_nothing() -> None:
    assert [finding for module in modules() for finding in vague_name(module.path)] == []


def test_no_module_is_too_long() -> None:
    assert [finding for module in modules() for finding in too_long(module.path, module.text)] == []


def test_nothing_ships_that_must_not() -> None:
    assert [
        finding
        for file in tracked()
        for finding in never_ships(file.relative_to(ROOT).as_posix(), file.read_bytes())
    ] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("core/event.py", "# like Stripe does"),
        ("rules/matching.py", "def netsuite_period(): ..."),
        ("rules/matching.py", "class ZendeskTicket: ..."),
        ("connectors/tryton/connect.py", "from stripe import Invoice"),
        ("connectors/host.py", "KNOWN = ['roundup']"),
        ("web/pages/pages.html", "<td>Salesforce</td>"),
    ],
)
def test_a_planted_vendor_is_found(path: str, text: str) -> None:
    assert vendor_names(PurePosixPath(path), text) != []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("connectors/stripe/connect.py", "# what Stripe answers"),
        ("connectors/tryton/connect.py", "trytond"),
        ("twins/stripe.py", "stripe"),
        ("demo/billing.py", "stripe, tryton, roundup"),
        ("connectors/signature.py", "SCHEMES = ('stripe', 'zendesk')"),
        ("rules/matching.py", "# stripes and roundups are other words"),
    ],
)
def test_a_vendor_in_its_own_folder_is_let_through(path: str, text: str) -> None:
    assert vendor_names(PurePosixPath(path), text) == []


@pytest.mark.parametrize(
    "statement",
    [
        "q = 'select id from runs'",
        "q = '''\n  select id,\n    state\n  from runs'''",
        "q = 'INSERT INTO runs values (1)'",
        "q = 'insert or ignore into runs values (1)'",
        "q = 'update runs set x = 1'",
        "q = f'update {table} set x = 1'",
        "q = f'select {columns} from runs'",
        "q = 'delete from runs'",
        "q = 'with due as (select 1) select * from due'",
        "q = 'create table runs (id int)'",
        "q = 'pragma user_version'",
    ],
)
def test_planted_sql_is_found(statement: str) -> None:
    assert sql_outside_store(planted("flow/runs/turn.py", statement)) != []
    assert sql_outside_store(planted("twins/billing/pages.py", statement)) != []
    assert sql_outside_store(planted("store/sql/sqlite.py", statement)) == []
    assert sql_outside_store(planted("twins/billing/store.py", statement)) == []


@pytest.mark.parametrize(
    "text",
    [
        'def f():\n    """Select the rows from a file and insert them into a table."""',
        "m = 'Choose a workflow from the list'",
        "m = 'Update the settings'",
    ],
)
def test_prose_is_not_taken_for_sql(text: str) -> None:
    assert sql_outside_store(planted("flow/runs/turn.py", text)) == []


@pytest.mark.parametrize(
    "path", ["core/utils.py", "flow/helpers/x.py", "web/session_manager.py", "common/x.py"]
)
def test_a_planted_vague_name_is_found(path: str) -> None:
    assert vague_name(PurePosixPath(path)) != []


def test_a_planted_long_module_is_found() -> None:
    assert too_long(PurePosixPath("flow/runs/turn.py"), "x = 1\n" * (LONGEST + 1)) != []
    assert too_long(PurePosixPath("flow/runs/turn.py"), "x = 1\n" * LONGEST) == []


@pytest.mark.parametrize(
    "content",
    [
        b"--hash --index" + b"-url https://mirror.example/" + b"simple",
        b"https://pypi" + b".org/simple",
        b"https://files.python" + b"hosted.org/x.whl",
        b"see /root" + b"/notes.txt",
        b"open('/work" + b"/main/x')",
        b"cd /home" + b"/alice/project",
        b"--find" + b"-links /opt",
        b"-----BEGIN RSA " + b"PRIVATE KEY-----",
        b"GIF89a\0\0",
    ],
)
def test_planted_contraband_is_found(content: bytes) -> None:
    assert never_ships("some/file", content) != []


@pytest.mark.parametrize("content", [b"src/work/main", b"https://example.com/root/x", b"the /tmp folder"])
def test_harmless_text_ships(content: bytes) -> None:
    assert never_ships("some/file", content) == []


def test_small_pictures_of_pages_ship_and_no_other_binaries() -> None:
    picture = b"\x89PNG\r\n\x1a\n\0"
    assert never_ships("docs/images/page.png", picture) == []
    assert never_ships("docs/images/page.png", picture + b"\0" * MAX_PICTURE_BYTES) != []
    assert never_ships("docs/images/page.png", b"GIF89a\0") != []
    assert never_ships("docs/page.png", picture) != []
