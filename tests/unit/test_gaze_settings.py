"""Which settings are accepted together: the values at each limit, and those just outside."""

import math
from typing import Any

import pytest

from autogaze_cli.errors import ConfigError
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
