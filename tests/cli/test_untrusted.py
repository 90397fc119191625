"""Videos of somebody else: one that does harm fails alone, and nothing beside them has a say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run

GIF = b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b"\x2c" + bytes(4) + b"\1\0\1\0\0\2\2\x44\1\0;"


@pytest.fixture
def folder(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two videos, of which one claims 65535x65535 pixels, and somebody's configuration."""
    shutil.copy(clip, tmp_path / "good.mp4")
    (tmp_path / "bomb.gif").write_bytes(GIF)
    (tmp_path / "autogaze.toml").write_text("frames = 3\nmask-source = 'patch-diff'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_isolated_outputs_are_the_same_and_a_bomb_fails_alone(run: Run, folder: Path) -> None:
    results = {}
    for name, more in (("plain", []), ("apart", ["--isolate"])):
        done = run("mask", "bomb.gif", "good.mp4", *more, "-o", name)
        assert done.exit_code == 3
        assert "bomb.gif: no frame could be decoded" in done.stderr
        files = sorted((folder / name).glob("good.*"))
        assert len(files) == 2
        results[name] = [file.read_bytes().replace(name.encode(), b"") for file in files]
    assert results["plain"] == results["apart"]


def test_untrusted_reads_no_configuration_beside_the_videos(run: Run, folder: Path) -> None:
    own = ["--mask-source", "patch-diff"]
    assert run("trace", "good.mp4", "-o", "plain").exit_code == 0
    assert run("trace", "good.mp4", *own, "--untrusted", "-o", "apart").exit_code == 0
    frames = [
        len(json.loads((folder / name / "good.trace.json").read_text())["frames"])
        for name in ("plain", "apart")
    ]
    assert frames == [3, 24]
    (folder / "autogaze.toml").write_text("untrusted = false\n")
    assert "unknown key 'untrusted'" in run("trace", "good.mp4").stderr
    variable = {"AUTOGAZE_UNTRUSTED": "1", "AUTOGAZE_LIMIT": "frames=9 pixels=99999"}
    done = run("trace", "good.mp4", *own, "-o", "limited", env=variable)
    assert done.exit_code == 2
    assert "an index of 24 frames, over the limit of 9 frames" in done.stderr


@pytest.mark.parametrize("setting", ["limit = ['frames=999999999']", "isolate = false"])
def test_a_found_configuration_lifts_no_limit(run: Run, folder: Path, setting: str) -> None:
    (folder / "autogaze.toml").write_text(setting)
    done = run("trace", "good.mp4", "--mask-source", "patch-diff", "-o", "out")
    assert done.exit_code == 2
    assert "is not taken from a file that was only found" in done.stderr
    named = ("--config", "autogaze.toml", "--frames", 2, "--mask-source", "patch-diff")
    assert run("trace", "good.mp4", *named, "-o", "out").exit_code == 0


def test_a_run_is_resumed_with_other_limits(run: Run, folder: Path) -> None:
    first = run("trace", "good.mp4", "bomb.gif", "--limit", "frames=30", "-o", "out")
    assert first.exit_code == 3
    again = run("trace", "good.mp4", "bomb.gif", "--untrusted", "--resume", "-o", "out",
                "--config", "autogaze.toml")  # fmt: skip
    assert "1 skipped" in again.stderr


def test_nothing_is_written_outside_of_the_output_folder(run: Run, folder: Path) -> None:
    inputs, out, elsewhere = folder / "in", folder / "out", folder / "elsewhere"
    for place in (inputs / "a", inputs / "b", out, elsewhere):
        place.mkdir(parents=True)
    for place in (inputs / "a", inputs / "b"):
        shutil.copy(folder / "good.mp4", place / "clip.mp4")
    (out / "a").symlink_to(elsewhere)
    done = run("trace", inputs, "-o", out)
    assert done.exit_code == 3
    assert f"would be written outside of {out}, into {elsewhere}" in done.stderr
    assert list(elsewhere.iterdir()) == []
    assert (out / "b" / "clip.trace.json").is_file()
    above = run("trace", f"{inputs}/a*/../../good.mp4", "-o", out)
    assert above.exit_code == 2
    assert "would be written outside of" in above.stderr
