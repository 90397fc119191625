"""A model and a clip that need no files: the same for the same seed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.media.synthetic import Synthetic
from autogaze_cli.media.synthetic_source import synthetic_picture
from autogaze_cli.media.video import Frame
from autogaze_cli.model.autogaze import AutoGaze
from autogaze_cli.model.checkpoint import Preprocessing
from autogaze_cli.model.config import GazeConfig, RopeConfig
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.model.preprocess import IMAGE_MEAN, IMAGE_STD

SEED = 0


def seeded_model(
    device: torch.device | str = "cpu", dtype: str = "float32", seed: int = SEED
) -> AutoGaze:
    """A model of the published sizes whose weights are random, the same for a seed.

    It is as fast as a trained one where frames do not stop early, and looks nowhere in particular.
    """
    config = GazeConfig(
        layout=ScaleLayout.from_config("32+64+112+224", 265, 16),
        rope=RopeConfig(theta=500000.0, llama3=True, factor=8.0),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoGazeNetwork(config).eval().requires_grad_(False)
    network.to(torch.device(device), getattr(torch, dtype))
    preprocessing = Preprocessing(size={"shortest_edge": 224}, mean=IMAGE_MEAN, std=IMAGE_STD)
    return AutoGaze(network, config, preprocessing, name="seeded")


def seeded_frames(frames: int, width: int, height: int, seed: int = SEED) -> list[Frame]:
    """The clip ``synthetic:local-motion`` with grain that moves, the same for a seed."""
    clip = Synthetic(motion="local-motion", width=width, height=height, frames=frames)
    grain = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    return [
        Frame(n, Fraction(n, 30), _add(synthetic_picture(clip, n), np.roll(grain, 7 * n, axis=1)))
        for n in range(frames)
    ]


def _add(rgb: NDArray[np.uint8], grain: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(rgb + grain, 0, 255).astype(np.uint8)
