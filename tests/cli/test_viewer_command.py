"""``autogaze viewer``: the page, the class, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]

SHA256 = "4f762d79a53351f8a0265308a16459c2dc349a60fb40fbf5be6efb8494b3eea3"


def test_the_page_holds_the_bundled_model(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "new" / "gaze.html"
    done = run("viewer", "-o", page)
    assert done.exit_code == 0, done.output
    text = page.read_text()
    weights = text.split('id="weights">')[1].split("<")[0]
    assert hashlib.sha256(base64.b64decode(weights)).hexdigest() == SHA256
    assert f'"sha256":"{SHA256}"' in text
    assert len(text) < 10_000_000
    again = run("viewer", "-o", page)
    assert again.exit_code == 2
    assert "already exists; give --overwrite" in again.output
    assert run("viewer", "-o", page, "--overwrite").exit_code == 0
    assert page.read_text() == text


def test_the_class_is_a_script(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "autogaze.js"
    assert run("viewer", "-o", script).exit_code == 0
    text = script.read_text()
    assert "globalThis.AutoGaze = AutoGaze;" in text
    assert len(text) < 200_000
    with_model = run("viewer", "-o", script, "--model", "kestrel", "--overwrite")
    assert with_model.exit_code == 2
    assert "the class alone holds no model" in with_model.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "gaze.txt"], "must end with .html (the page) or .js"),
        (["-o", "gaze.html", "--model", "fixtures/parity-tiny"], "2 heads of 16 channels cannot"),
        (["-o", "gaze.html", "--model", "fixtures/traces"], "config.json is missing"),
        (["-o", "gaze.html", "--model", "nothing"], "no such model"),
    ],
)
def test_what_it_cannot_write(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    arguments[1] = str(tmp_path / arguments[1])
    done = run("viewer", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert list(tmp_path.iterdir()) == []


def test_it_needs_no_pytorch(tmp_path: Path) -> None:
    code = (
        "import sys; from autogaze_cli.cli.main import cli\n"
        f"cli(['viewer', '-o', {str(tmp_path / 'gaze.html')!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
