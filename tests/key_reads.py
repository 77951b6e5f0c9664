"""Reads of the keys of governance documents in the code, by the types that mypy infers.

`python -m tests.key_reads` prints JSON: the full name of each key that is read anywhere, with the files and lines. A name
alone would prove nothing, because other classes have attributes of the same name.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from mypy import build
from mypy.modulefinder import BuildSource
from mypy.options import Options
from mypy.plugin import Plugin

from tests.source import ROOT

KINDS = "counterfoil.model.kinds."
_SKIPPED = (
    "asyncpg.*", "httpx2.*", "jinja2.*", "litestar.*", "uvicorn.*", "counterfoil.connectors.*", "counterfoil.contracts.*",
    "counterfoil.demo.*", "counterfoil.store.sql.*", "counterfoil.twins.*",
)  # fmt: skip
"""Packages that hold no document of the model. Without them the analysis takes a fifth of the time."""


class _Reads(Plugin):
    """Plug-in of mypy that records each access to an attribute of a kind, and changes nothing."""

    places: dict[str, set[tuple[str, int]]]

    def get_attribute_hook(self, fullname: str) -> Any:
        return self._record(fullname) if fullname.startswith(KINDS) else None

    def _record(self, fullname: str) -> Any:
        def hook(context: Any) -> Any:
            place = (context.api.path, context.context.line)
            self.places.setdefault(fullname.removeprefix(KINDS).partition(".")[2], set()).add(place)
            return context.default_attr_type

        return hook


def key_reads() -> dict[str, set[tuple[str, int]]]:
    """Return the places of every access by `Class.key`: path of the file, and line."""
    source = ROOT / "src"
    options = Options()
    options.incremental, options.cache_dir = False, "/dev/null"
    options.mypy_path, options.python_executable = [str(source)], sys.executable
    options.check_untyped_defs = True
    options.per_module_options = {name: {"follow_imports": "skip"} for name in _SKIPPED}
    options.build_per_module_cache()
    skipped = tuple(name.rstrip("*").replace(".", "/") for name in _SKIPPED)
    files = [
        BuildSource(str(path), ".".join(name.with_suffix("").parts).removesuffix(".__init__"))
        for path in sorted(source.rglob("*.py"))
        if not str(name := path.relative_to(source)).startswith(skipped)
    ]
    plugin = _Reads(options)
    plugin.places = {}
    build.build(files, options, extra_plugins=[plugin])
    return plugin.places


if __name__ == "__main__":
    json.dump({key: sorted(places) for key, places in key_reads().items()}, sys.stdout)
