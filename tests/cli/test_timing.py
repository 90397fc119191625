"""``--timing``: how long each frame took in each stage."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

import autogaze_cli
from autogaze_cli.jobs.timing import Timing

Run = Callable[..., Result]

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "timing.schema.json").read_text())
ENCODER = ROOT / "fixtures" / "encoders" / "siglip-tiny-p16"
STAGES = {
    "trace": {"decode", "gaze", "write"},
    "mask": {"decode", "gaze", "draw", "write"},
    "interframe": {"decode", "gaze", "draw", "write"},
    "render-assets": {"decode", "gaze", "draw", "write"},
    "readout": {"decode", "gaze"},
    "encode": {"decode", "gaze"},
}


def valid(path: Path) -> Any:
    document = json.loads(path.read_text())
    Draft202012Validator(SCHEMA).validate(document)
    return document


@pytest.mark.parametrize("command", STAGES)
def test_every_command_times_its_stages(run: Run, clip: Path, tmp_path: Path, command: str) -> None:
    words: tuple[object, ...] = ("--encoder", ENCODER, "--device", "cpu")
    words = ("--frames", 4, "-o", tmp_path, *(words if command == "encode" else ()))
    begun = time.perf_counter()
    file = tmp_path / "t.json"
    result = run(command, clip, "--mask-source", "patch-diff", *words, "--timing", file)
    seconds = time.perf_counter() - begun
    assert result.exit_code == 0, result.stderr
    document = valid(file)
    assert document["command"] == command
    (timed,) = document["inputs"]
    assert timed["input"] == str(clip)
    assert [frame["frame"] for frame in timed["frames"]] == [0, 1, 2, 3]
    for stage in ("decode", "gaze", "draw", "write"):
        spent = [frame[f"{stage}_ms"] for frame in timed["frames"]]
        if stage not in STAGES[command]:
            assert spent == [None] * 4
        else:  # a stage runs in one thread, or in one for each of three files
            assert 0 < sum(spent) <= 3 * seconds * 1000
            assert min(spent) >= 0


def test_it_changes_no_output_and_has_all_inputs_of_all_workers(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [clip, "synthetic:pan,size=64x48,frames=5"]
    words = ("--mask-source", "patch-diff", "--frames", 3)
    assert run("trace", *names, *words, "-o", "plain").exit_code == 0
    result = run("trace", *names, *words, "-o", "out", "--timing", "t.json", "--workers", 2)
    assert result.exit_code == 0, result.stderr
    for made in Path("plain").glob("*.json"):
        assert made.read_bytes() == Path("out", made.name).read_bytes()
    inputs = {item["input"]: item["frames"] for item in valid(Path("t.json"))["inputs"]}
    assert {name: len(frames) for name, frames in inputs.items()} == {str(n): 3 for n in names}


def test_it_is_refused_where_it_cannot_be(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.json").write_text("mine")
    words = ("--mask-source", "patch-diff", "--frames", 2, "--timing", "t.json")
    result = run("trace", clip, *words)
    assert (result.exit_code, "t.json: already exists" in result.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    trace = ROOT / "fixtures" / "traces" / "v1.trace.json"
    result = run("readout", trace, "--timing", "u.json")
    assert (result.exit_code, "a saved trace has none" in result.stderr) == (2, True)
    result = run("trace", "no.mp4", *words, "--overwrite")
    assert (result.exit_code, Path("t.json").read_text()) == (2, "mine")
    made = autogaze_cli.trace_video(
        clip, frames=2, mask_source="patch-diff", timing="v.json", out_dir="out"
    )
    assert len(made.timing) == 2
    assert valid(Path("v.json"))["inputs"][0]["frames"] == list(made.timing)


def test_waiting_elsewhere_is_not_counted() -> None:
    timing, elsewhere = Timing(), 0.0

    def items() -> Any:
        nonlocal elsewhere
        for pause_s in (0.02, 0.0):
            begun = time.perf_counter()
            time.sleep(0.05)
            elsewhere += time.perf_counter() - begun
            time.sleep(pause_s)
            yield pause_s

    assert list(timing.waits("gaze", items(), less=lambda: elsewhere)) == [0.02, 0.0]
    timing.add("write", 1, 0.5)
    first, second = timing.document()
    assert 20 <= first["gaze_ms"] < 50 > second["gaze_ms"]
    assert (first["write_ms"], second["write_ms"], first["draw_ms"]) == (0, 500, None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clip.mp4", "is not a timing, and stays"),
        ("link.mp4", "is not a timing, and stays"),
        ("other.json", "is not a timing, and stays"),
        ("out/clip.trace.json", "is an output of this run"),
        ("out/autogaze-manifest.jsonl", "is an output of this run"),
        ("out/../out/clip.trace.json", "is an output of this run"),
    ],
)
def test_only_a_timing_is_replaced(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").write_bytes(clip.read_bytes())
    Path("link.mp4").symlink_to("clip.mp4")
    Path("other.json").write_text('{"format": "autogaze-trace"}')
    words = ("clip.mp4", "--mask-source", "patch-diff", "--frames", 1, "-o", "out", "--overwrite")
    Path("out").mkdir()
    result = run("trace", *words, "--timing", name)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"timing: {name}: {says}; name another file\n")
    assert Path("clip.mp4").read_bytes() == clip.read_bytes()
    assert Path("link.mp4").is_symlink()
    assert "trace" in Path("other.json").read_text()
    checked = run("render-assets", *words[:-1], "--check", "--timing", "clip.mp4")
    assert (checked.exit_code, "is not a timing, and stays" in checked.stderr) == (2, True)
    assert Path("clip.mp4").read_bytes() == clip.read_bytes()
    for _ in range(2):
        assert run("trace", *words, "--timing", "t.json").exit_code == 0
    valid(Path("t.json"))
