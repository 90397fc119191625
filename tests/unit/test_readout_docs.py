"""The page on sparse vision transformers runs as it stands, and the benchmark runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from autogaze_cli.cli.main import cli
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sparse_vit.md").read_text()
FORMAT = (ROOT / "docs" / "readout_format.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def birds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's video, and the readout that its command makes."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "fixtures" / "dog.mp4", "birds.mp4")
    (command,) = blocks(PAGE, "console")
    arguments = command.removeprefix("$ autogaze ").replace("\\\n", "").split()
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return tmp_path


def test_the_page_runs(birds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec("\n".join(blocks(PAGE, "python")), names)  # the page's own code, as a reader pastes it
    coords, patches, logits = names["coords"], names["patches"], names["logits"]
    assert 0 < len(coords) < names["grid"].token_count
    assert patches.shape == (len(coords), 2, 16, 16, 3)
    assert logits.shape == (1, 10)
    assert f"{len(coords)} of 784 patches" in capsys.readouterr().out
    sampling = Sampling(frames=8, width=224, height=224)
    frames = np.stack([frame.rgb for frame in read_frames(birds / "birds.mp4", sampling)])
    for patch, (_, t, row, col) in zip(patches, coords.tolist(), strict=True):
        y, x = slice(16 * row, 16 * row + 16), slice(16 * col, 16 * col + 16)
        wanted = torch.from_numpy(frames[2 * t : 2 * t + 2, y, x]).float() / 255
        assert torch.equal(patch, wanted)
    # A tower that keeps some groups is the dense one whose other inputs are masked.
    assert 0 < len(names["tokens"]) < len(names["groups"]) == 4 * 7 * 7
    assert names["tokens"].std() > 0.05
    assert torch.allclose(names["tokens"], names["masked"], atol=1e-5)
    gazed = {(t, row // 2, col // 2) for _, t, row, col in coords.tolist()}
    assert set(map(tuple, names["kept"].mrope.tolist())) == gazed
    # Order does not matter to the model: positions are what places a patch.
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        again = names["model"](patches[order], coords[order])
    assert torch.allclose(logits, again, atol=1e-5)


def test_exact_token_counts_stack(birds: Path) -> None:
    exact = "readout birds.mp4 --frames 8 --clip-height 224 --clip-width 224 --overwrite"
    counts = "--min-tokens 40 --max-tokens 40"
    assert CliRunner().invoke(cli, [*exact.split(), *counts.split()]).exit_code == 0
    names: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[0], names)
    assert names["coords"].shape == (40, 4)


def test_the_pages_gazing_info_is_a_batch(birds: Path) -> None:
    model = ROOT / "fixtures" / "parity-tiny"
    arguments = f"readout birds.mp4 --frames 2 --emit gazing-info --model {model} --overwrite"
    size = "--clip-height 224 --clip-width 224 --max-gaze-tokens-each-frame 6"
    result = CliRunner().invoke(cli, [*arguments.split(), *size.split()])
    assert result.exit_code == 0, result.output
    first, *_, last = blocks(PAGE, "python")
    names: dict[str, Any] = {}
    exec(f"{first.splitlines()[0]}\n{first.splitlines()[1]}\n{last}", names)
    info = names["load_gazing_info"]("birds.readout.npz")
    shapes = {name: tuple(tensor.shape) for name, tensor in info.items()}
    slots = int(info["num_gazing_each_frame"].sum())
    assert shapes == {
        "gazing_pos": (1, slots),
        "if_padded_gazing": (1, slots),
        "num_gazing_each_frame": (2,),
    }
    assert [tensor.dtype for tensor in info.values()] == [torch.int64, torch.bool, torch.int64]


def test_the_format_page_s_example_runs(birds: Path) -> None:
    (example,) = blocks(FORMAT, "python")
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["readout"].coords.shape[1] == 4


def test_the_benchmark_runs() -> None:
    small = ["--frames", "50", "--fixations", "20", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench_readout", *small],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 6
