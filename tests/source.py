"""The source of the product as data for tests of its style and structure: parsed modules and imports."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
PACKAGE = "counterfoil"
SOURCE = ROOT / "src" / PACKAGE


@dataclass(frozen=True)
class Module:
    """One Python file of the package; `path` is relative to the package's folder."""

    path: PurePosixPath
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parse(self.text, str(self.path))

    @property
    def name(self) -> str:
        """Dotted name without the package: `rules.decide`, `rules` for its __init__, empty for the package itself."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def floor(self) -> str:
        """First word of the name, such as `rules`; empty for the package itself."""
        return self.name.split(".")[0]

    def at(self, node: ast.AST, message: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {message}"

    def imports(self) -> Iterator[tuple[ast.AST, str]]:
        """Yield each import, also inside functions, with its full name: `from a import b` gives `a.b`."""
        package = [PACKAGE, *self.path.parent.parts]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node, alias.name
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                stem = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    yield node, f"{stem}.{alias.name}"
            elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
                for argument in node.args[:1]:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield node, argument.value


@cache
def _parse(text: str, path: str) -> ast.Module:
    return ast.parse(text, filename=path)


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the package as it is on disk."""
    return tuple(
        Module(PurePosixPath(file.relative_to(SOURCE).as_posix()), file.read_text("utf-8"))
        for file in sorted(SOURCE.rglob("*.py"))
    )


def planted(path: str, text: str) -> Module:
    """Return a module that is not on disk, to show that a rule can fail."""
    return Module(PurePosixPath(path), text)


def tracked() -> list[Path]:
    """Return every file of the project. Without a git history it is every file that is not generated."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        names = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
        return [file for file in names if file.is_file()]
    ignored = {".venv", ".counterfoil", "__pycache__", ".git", "dist", "build"}
    hidden = {".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    return [
        file
        for file in sorted(ROOT.rglob("*"))
        if file.is_file() and not (ignored | hidden) & set(file.relative_to(ROOT).parts)
    ]
