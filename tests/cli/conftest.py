"""A small clip, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result

from autogaze_cli.cli.main import cli

FIXTURES = Path(__file__).parents[2] / "fixtures"

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright square crossing a grey field: 24 frames of 96 x 64 at 8 fps."""
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "10", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for n in range(24):
            rgb = np.full((64, 96, 3), 90, np.uint8)
            rgb[20:36, 3 * n : 3 * n + 16] = (250, 230, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with sound and no picture."""
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """A model folder: small layers, random weights."""
    return FIXTURES / "parity-tiny"


@pytest.fixture
def run() -> Run:
    """``run("trace", path, ...)``: the command line as a user gives it, in this process."""

    def invoke(*arguments: object, **options: object) -> Result:
        return CliRunner().invoke(cli, [str(a) for a in arguments], **options)  # type: ignore[arg-type]

    return invoke
