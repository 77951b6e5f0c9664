"""Two versions of a small API, and `contracts diff` as a person runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from counterfoil.cli.main import main

API = {
    "openapi": "3.1.0",
    "info": {"title": "T", "version": "1"},
    "paths": {
        "/t": {
            "get": {
                "responses": {
                    "200": {
                        "description": "",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/T"}}},
                    }
                }
            }
        }
    },
    "components": {"schemas": {"T": {"type": "object", "properties": {"a": {"enum": ["x"]}, "b": {}}}}},
}
WIDER = json.loads(json.dumps(API).replace('["x"]', '["x", "y"]'))


class Completed:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def diff(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(old: Any, new: Any, *words: str, reads: Any = None, overrides: Any = None) -> Completed:
        names = []
        files = {"base.json": old, "revision.yaml": new, "reads.yaml": reads, "overrides.yaml": overrides}
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text)
            names.append(str(tmp_path / name))
        options = ["--reads", names[2]] if reads is not None else []
        options += ["--overrides", names[3]] if overrides is not None else []
        monkeypatch.setattr(sys, "argv", ["counterfoil", "contracts", "diff", *names[:2], *words, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Completed(code, captured.out, captured.err)

    return run
