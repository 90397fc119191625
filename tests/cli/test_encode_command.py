"""``encode`` from end to end: the file, its settings, batches, comparison and errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open

import autogaze_cli
from autogaze_cli.encoders import load_encoder
from autogaze_cli.jobs.folder import read_summary
from autogaze_cli.media.videos import read_frames
from autogaze_cli.trace import read_trace

Run = Callable[..., Result]
ENCODER = Path(__file__).parents[2] / "fixtures" / "encoders" / "siglip-tiny-p16"
FEW = ("--max-gaze-tokens-each-frame", 6, "--task-loss", "none", "--device", "cpu")


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["header"])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.fixture
def model(tiny_model: Path) -> tuple[object, ...]:
    return ("--model", tiny_model, "--encoder", ENCODER, *FEW)


def test_the_file_holds_what_the_encoder_returns(
    run: Run, clip: Path, tiny_model: Path, model: Any, tmp_path: Path
) -> None:
    done = run("encode", clip, *model, "--frames", 5, "--clip-len", 3, "-o", tmp_path)
    assert done.exit_code == 0, done.stderr
    traced = run(
        *("trace", clip, "--model", tiny_model, *FEW, "--frames", 5, "--clip-len", 3),
        *("-o", tmp_path),
    )
    assert traced.exit_code == 0
    header, arrays = read(tmp_path / "square.features.safetensors")
    trace = read_trace(tmp_path / "square.trace.json")
    frames = np.stack([frame.rgb for frame, _ in zip(read_frames(clip), range(5), strict=False)])
    encoder = load_encoder(ENCODER)
    first = encoder.encode(encoder.cut_frames(frames[:3], list(trace)[:3], trace.header))
    second = encoder.encode(encoder.cut_frames(frames[3:], list(trace)[3:], trace.header))
    n = len(first.last_hidden_state)
    assert len(arrays["features"]) == len(trace.fixations) == 5 * 6
    assert np.abs(arrays["features"][:n] - first.last_hidden_state.numpy()).max() < 1e-5
    assert np.abs(arrays["features"][n:] - second.last_hidden_state.numpy()).max() < 1e-5
    assert (arrays["coords"][:, 1] == np.repeat(np.arange(5), 6)).all()
    assert (arrays["time_s"] == arrays["coords"][:, 1] / 8).all()
    assert set(arrays["scale"]) <= {32, 64, 112, 224}
    assert arrays["frame_features"].shape == (5, 1, 64)
    assert arrays["clip_features"].shape == (2, 1, 64)
    assert np.abs(arrays["clip_features"][1, 0] - second.clip_features[0].numpy()).max() < 1e-5
    assert header["encoder"]["sha256"] == encoder.sha256
    assert header["encoder"]["attend"] == "block-causal"
    assert header["source"]["settings"]["max_gaze_tokens_each_frame"] == 6


def test_a_saved_trace_gives_the_same_file(
    run: Run, clip: Path, tiny_model: Path, model: Any, tmp_path: Path
) -> None:
    assert run("encode", clip, *model, "--frames", 4, "-o", tmp_path / "a").exit_code == 0
    trace = ("trace", clip, "--model", tiny_model, *FEW, "--frames", 4, "-o", tmp_path)
    assert run(*trace).exit_code == 0
    from_trace = ("--trace", tmp_path / "square.trace.json", "--encoder", ENCODER)
    done = run("encode", clip, *from_trace, "--device", "cpu", "-o", tmp_path / "b")
    assert done.exit_code == 0, done.stderr
    name = "square.features.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("mode", ["tiled", "tiled-full"])
def test_tile_batches_change_nothing(
    run: Run, clip: Path, model: Any, tmp_path: Path, mode: str
) -> None:
    tiles = ("--mode", mode, "--tile-size", 48, "--frames", 2, "--scales", "32+64+112+224")
    for size in (1, 4):
        done = run(
            "encode", clip, *model, *tiles, "--tile-batch-size", size, "-o", tmp_path / str(size)
        )
        assert done.exit_code == 0, done.stderr
    name = "square.features.safetensors"
    one, four = (read(tmp_path / str(size) / name)[1] for size in (1, 4))
    assert set(one["coords"][:, 0]) == set(range(4))
    assert all(np.allclose(one[key], four[key], atol=1e-5) for key in one)


def test_dense_takes_every_patch(run: Run, clip: Path, model: Any, tmp_path: Path) -> None:
    done = run("encode", clip, *model, "--frames", 3, "--dense", "-o", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["tokens"] == document["dense_tokens"] == 3 * 196
    header, arrays = read(tmp_path / "square.features.safetensors")
    assert header["dense"] is True
    assert header["encoder"]["attend"] == "frame"
    assert arrays["coords"][196 + 15].tolist() == [0, 1, 1, 1]


def test_a_comparison_has_times_and_similarity(
    run: Run, clip: Path, model: Any, tmp_path: Path
) -> None:
    whole = ("--frames", 4, "--clip-len", 2, "--compare-dense", "--overwrite", "-o", tmp_path)
    done = run("encode", clip, *model, *whole, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]
    assert (found["tokens"], found["dense_tokens"]) == (24, 4 * 196)
    ours = found["gaze_ms"] + found["cut_ms"] + found["encode_ms"]
    dense = found["dense_cut_ms"] + found["dense_encode_ms"]
    assert min(found["gaze_ms"], found["cut_ms"], found["encode_ms"]) > 0
    assert found["speed_up"] == pytest.approx(dense / ours, abs=0.01)
    assert found["worst_frame"]["cosine_similarity"] <= found["cosine_similarity"] <= 1
    table = run("encode", clip, *model, *whole).stdout
    assert "tokens                        24         784" in table
    assert "times faster" in table


def test_the_page_lists_the_comparison(run: Run, clip: Path, model: Any, tmp_path: Path) -> None:
    whole = ("--frames", 3, "--clip-len", 2, "--compare-dense", "--report", "-o", tmp_path)
    done = run("encode", clip, *model, *whole, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]
    encoding = read_summary(tmp_path / "square.report.html")["document"]["encoding"]
    for name in ("tokens", "dense_tokens", "gaze_ms", "encode_ms", "dense_encode_ms", "speed_up"):
        assert encoding[name] == found[name]
    assert encoding["worst_frame"].startswith(f"{found['worst_frame']['index']} (cosine ")


def test_a_frame_without_tokens_is_counted_and_not_compared(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    settings = ("--mask-source", "patch-diff", "--encoder", ENCODER, "--device", "cpu")
    done = run(
        *("encode", clip, *settings, "--frames", 3, "--attend", "frame", "--compare-dense"),
        *("-o", tmp_path, "--json"),
    )
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["comparison"]
    assert found["frames_without_tokens"] == 1  # the first has nothing to differ from
    assert 0 < found["tokens"] < 2 * 196


def test_many_inputs_resume_until_the_encoder_is_another(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    videos, encoder, out = tmp_path / "in", tmp_path / "encoder", tmp_path / "out"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, videos / name)
    shutil.copytree(ENCODER, encoder)
    common = ("--mask-source", "patch-diff", "--frames", 2, "--device", "cpu", "-o", out)
    again = ("encode", videos, "--encoder", encoder, *common, "--resume", "--json")
    states = []
    for change in (False, False, True):
        if change:
            weights = encoder / "model.safetensors"
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(data)
        done = run(*again)
        assert done.exit_code == 0, done.stderr
        states.append(len(json.loads(done.stdout)["results"]))
    assert states == [2, 0, 2]


def test_workers_write_what_one_process_writes(run: Run, clip: Path, tmp_path: Path) -> None:
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for video in videos:
        shutil.copy(clip, video)
    for workers in (1, 2):
        report = autogaze_cli.run_batch(
            "encode",
            videos,
            encoder=ENCODER,
            mask_source="patch-diff",
            frames=3,
            device="cpu",
            threads=1,
            workers=workers,
            out_dir=tmp_path / str(workers),
        )
        assert len(report.results) == 2
    for stem in ("a", "b"):
        name = f"{stem}.features.safetensors"
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "encode needs an encoder; give --encoder FOLDER"),
        (("--encoder", "no-such-folder"), "no-such-folder: no such encoder"),
        (("--encoder", "kestrel"), "is a gaze model, not an encoder"),
        (("--encoder", ENCODER, "--scales", "33+224"), "scale 33 cannot be divided into patches"),
        (("--encoder", ENCODER, "--scales", "32+64"), "cells per side does not fit an encoder"),
        (("--encoder", ENCODER, "--dense", "--attend", "clip"), "cannot be used with --dense"),
        (("--encoder", ENCODER, "--dense", "--compare-dense"), "exclude each other"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    run: Run, clip: Path, tmp_path: Path, arguments: Any, message: str
) -> None:
    out = tmp_path / "out"
    settings = ("--mask-source", "patch-diff", "--patch-diff-grid", 14, "--device", "cpu")
    done = run("encode", clip, *settings, "--frames", 3, "-o", out, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("Error") == 1
    assert not out.exists() or list(out.iterdir()) == []


def test_the_trace_of_another_video_is_refused(
    run: Run, clip: Path, tiny_model: Path, tmp_path: Path
) -> None:
    trace = ("trace", clip, "--model", tiny_model, *FEW, "--frames", 2, "-o", tmp_path)
    assert run(*trace).exit_code == 0
    still = tmp_path / "still_%d.png"  # one picture alone would be repeated
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "still_1.png")
    path = tmp_path / "square.trace.json"
    done = run("encode", still, "--trace", path, "--encoder", ENCODER, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "still_%d.png" in done.stderr
    assert not list((tmp_path / "out").glob("*.safetensors"))
