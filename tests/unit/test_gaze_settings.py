"""Which settings are accepted together: the values at each limit, and those just outside."""

import math
from typing import Any

import pytest

from autogaze_cli.errors import ConfigError, DeviceError
from autogaze_cli.gaze.settings import GazeSettings

TARGET = {"target_scales": "56+112+196+392", "target_patch_size": 14}


@pytest.mark.parametrize(
    "given",
    [
        {"patch_diff_threshold": 0.0},
        {"rlt_threshold": 0.0},
        {"codec_threshold": 0.0},
        {"seed": 0},
        {"seed": 2**63 - 1},
        {"task_loss_requirement": 0.0},
        {"gazing_ratio": 0.0},
        {"gazing_ratio": 1.0},
        {"coverage_ratio": 1.0},
        {"mask_source": "evs", "pruning_rate": 0.0},
        {"mask_source": "evs", "pruning_rate": 1.0},
        {"mode": "tiled", "tile_size": 224, "stride": 224},
        {"horizon_frames": 1},
        TARGET,
    ],
    ids=repr,
)
def test_accepted(given: dict[str, Any]) -> None:
    settings = GazeSettings(**given)
    assert {name: getattr(settings, name) for name in given} == given


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("tile_size", 65535),
        ("stride", 65535),
        ("tile_batch_size", 2**31 - 1),
        ("clip_len", 2**31 - 1),
        ("horizon_frames", 2**31 - 1),
        ("top_k", 2**31 - 1),
        ("max_gaze_tokens_each_frame", 2**31 - 1),
        ("target_patch_size", 65535),
        ("patch_diff_grid", 1024),
        ("rlt_tubelet", 2**31 - 1),
        ("threads", 1024),
    ],
)
def test_whole_numbers_have_a_range(name: str, most: int) -> None:
    others = {"stride": ("tile_size", 65535), "target_patch_size": ("target_scales", "1")}
    given: dict[str, Any] = dict([others[name]] if name in others else [])
    for value in (1, most):
        assert getattr(GazeSettings(**{**given, name: value}), name) == value
    for value in (0, most + 1):
        with pytest.raises(ConfigError, match=f"{name} must be within 1 to {most}, not {value}"):
            GazeSettings(**{**given, name: value})


def test_what_is_not_given() -> None:
    # The published model's input, inference spec 2 and 7; sources spec for the thresholds.
    default = GazeSettings()
    assert (default.mode, default.tile_size, default.stride) == ("resize", 224, None)
    assert (default.clip_len, default.top_k, default.tile_batch_size) == (16, 1, 8)
    assert (default.patch_diff_grid, default.patch_diff_threshold) == (14, 0.45)
    assert (default.rlt_threshold, default.rlt_tubelet) == (0.1, 2)
    assert (default.codec_threshold, default.seed) == (0.25, 0)
    assert default.task_loss_requirement == "model"
    assert not default.exact


@pytest.mark.parametrize("name", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:127", "cuda:all"])
def test_devices(name: str) -> None:
    assert GazeSettings(device=name).device == name


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:1000", "cuda:-1", "cpu:0", "CUDA"])
def test_devices_that_are_not_known(name: str) -> None:
    with pytest.raises(DeviceError, match="is not known"):
        GazeSettings(device=name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patch_diff_threshold": -0.1}, "patch_diff_threshold must be a finite number"),
        ({"rlt_threshold": math.inf}, "rlt_threshold must be a finite number"),
        ({"codec_threshold": math.nan}, "codec_threshold must be a finite number"),
        ({"seed": -1}, "seed must be within"),
        ({"seed": 2**63}, "seed must be within"),
        ({"task_loss_requirement": -0.1}, "task_loss_requirement must be a finite number"),
        ({"gazing_ratio": 1.001}, "gazing_ratio must be within 0 to 1"),
        ({"gazing_ratio": 0.5, "max_gaze_tokens_each_frame": 5}, "both set the token budget"),
        ({"coverage_ratio": 0.0}, "coverage_ratio must be above 0"),
        ({"coverage_ratio": 1.001}, "coverage_ratio must be above 0"),
        (
            {"exact": True, "gazing_ratio": 0.5, "coverage_ratio": 0.5},
            "exact and coverage_ratio both say where",
        ),
        (
            {"exact": True, "gazing_ratio": 0.5, "pruning_rate": 0.5, "mask_source": "evs"},
            "exact and pruning_rate both say which",
        ),
        ({"mode": "tiles"}, "mode must be one of resize, tiled, tiled-full"),
        ({"dtype": "float16"}, "dtype must be one of float32, bfloat16"),
        ({"exact": True}, "exact needs the number of tokens"),
        ({"mask_source": "evs", "pruning_rate": -0.001}, "pruning_rate must be within 0 to 1"),
        ({"mask_source": "evs", "pruning_rate": 1.001}, "pruning_rate must be within 0 to 1"),
        ({"mask_source": "autogaze", "model": "m", "pruning_rate": 0.5}, "cannot be used with"),
        ({"mask_source": "autogaze"}, "needs a model"),
        ({"mode": "tiled", "stride": 225}, "stride 225 is larger than tile_size 224"),
        ({"mode": "tiled", "horizon_frames": 4}, "horizon_frames needs mode resize"),
        ({"target_patch_size": 14}, "belong together"),
        ({"target_scales": "56+112"}, "belong together"),
        (TARGET | {"target_scales": "56,112"}, "joined by '\\+'"),
        (TARGET | {"mode": "tiled"}, "target_scales need mode resize"),
    ],
    ids=repr,
)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GazeSettings(**given)
