"""The page on encoders runs as it stands, but for the checkpoint's name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from autogaze_cli.cli.main import cli

ROOT = Path(__file__).parents[2]
ENCODER = str(ROOT / "fixtures" / "encoders" / "siglip-tiny-p16")
PAGE = (ROOT / "docs" / "encoders.md").read_text().replace("siglip2-base-patch16-224", ENCODER)


def test_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "fixtures" / "dog.mp4", "clip.mp4")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)  # as a reader pastes it
    output = names["output"]
    assert len(output.last_hidden_state) == len(output.coords) > 16
    assert f"torch.Size([{len(output.coords)}, 64])" in capsys.readouterr().out
    commands = re.findall(r"^\$ autogaze (encode .*)$", PAGE, re.MULTILINE)
    few = ["--frames", "2", "--overwrite", "--device", "cpu"]
    for command in commands:
        done = CliRunner().invoke(cli, [*command.split(), *few])
        assert done.exit_code == 0, done.output
    assert len(commands) == 2
    header, arrays = names["load_features"]("out/clip.features.safetensors")
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE, re.MULTILINE)
    assert {name: str(array.dtype) for name, array in arrays.items()} == dict(table)
    assert header["encoder"]["scales"] == "32+64+112+224"
