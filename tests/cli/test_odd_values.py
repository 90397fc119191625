"""Whatever a Python call brings: an error that names the argument, or a plain value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autogaze_cli
from autogaze_cli.batch.result import Result
from autogaze_cli.errors import AutogazeError, ConfigError

ODD: tuple[Any, ...] = (
    *(None, "", "abc", "1/0", "1e99999999", "\0", "\ud800", b"x", Path("x"), True, float("nan")),
    *(float("inf"), -1, 1.5, 10**30, 1e308, [], [1, 2], (1, 2, 3), {}, object(), Fraction(1, 3)),
    *(np.array([1, 2]), np.float32(2.5), "9" * 5000),
)
CALLS: dict[str, Callable[..., Result]] = {
    "trace_video": autogaze_cli.trace_video,
    "render_mask": autogaze_cli.render_mask,
    "project_readout": autogaze_cli.project_readout,
    "render_assets": autogaze_cli.render_assets,
}


@pytest.mark.parametrize("call", CALLS)
def test_an_odd_value_is_refused_by_name(call: str, tmp_path: Path) -> None:
    for name in inspect.signature(CALLS[call]).parameters:
        for value in ODD:
            settings: dict[str, Any] = {"out_dir": tmp_path / "out", "mask_source": "patch-diff"}
            settings["video"] = tmp_path / "no.mp4"
            with pytest.raises(AutogazeError) as error:
                CALLS[call](**{**settings, name: value})
            line = error.value.line()
            accepted = "no.mp4: no such file" in line
            assert accepted or name in line or name in ("video", "model"), (name, value, line)
            assert "unexpected" not in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"frames": "4"}, "frames must be a whole number or None, not '4'"),
        ({"frames": True}, "frames must be a whole number or None, not True"),
        ({"inference_width": 0}, "inference_width must be within 1 to 65535, not 0"),
        ({"mode": None}, "mode must be text, not None"),
        ({"mode": "tilde"}, "mode must be one of resize, tiled, tiled-full, not 'tilde'"),
        ({"task_loss_requirement": "x"}, "must be a number or model or None, not 'x'"),
        ({"out_dir": "\0"}, "out_dir must be a path"),
        ({"format": "gif"}, "format must be one of json, npz, safetensors, csv, not 'gif'"),
        ({"fps": "1e9_9_9_9_9_9_9"}, "fps must be frames per second"),
        ({"start": "9" * 5000}, "start must be seconds"),
    ],
)
def test_what_an_argument_must_be(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        autogaze_cli.trace_video("no.mp4", **settings)


def test_numbers_of_numpy_are_numbers(clip: Path, tmp_path: Path) -> None:
    kinds: tuple[tuple[Any, Any], ...] = ((int, float), (np.int64, np.float32))
    plain, other = (
        autogaze_cli.trace_video(
            *(clip,),
            frames=integer(2),
            patch_diff_threshold=real(0.5),
            mask_source="patch-diff",
            out_dir=tmp_path / integer.__name__,
        )
        for integer, real in kinds
    )
    assert plain.files["trace"].read_bytes() == other.files["trace"].read_bytes()


@pytest.mark.parametrize("inputs", [None, 5, b"x", [None], [b"x"], {1: 2}])
def test_inputs_of_a_batch_are_paths(inputs: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an input must be a path"):
        autogaze_cli.run_batch("trace", inputs, out_dir=tmp_path)
    with pytest.raises(ConfigError, match="no command"):
        autogaze_cli.run_batch(inputs, "clip.mp4")


def test_an_engine_and_switches_are_what_they_say(tmp_path: Path) -> None:
    for name, value in {"engine": "slurm", "resume": "no", "workers": "2", "workers ": 1}.items():
        settings: Any = {name: value, "out_dir": tmp_path}
        with pytest.raises(ConfigError, match=name):
            autogaze_cli.run_batch("trace", "no.mp4", **settings)
