"""Synthetic clips, pixel by pixel as the formulas have them, and pictures that are repeated."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autogaze_cli.errors import InputError
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.synthetic import Synthetic
from autogaze_cli.media.videos import probe, read_frames


def ground(x: int, y: int, w: int, h: int) -> tuple[int, int, int]:
    """The formula of the reference, in real numbers."""
    q = ((x >> 6) + (y >> 6)) & 1
    red = int(x / max(1, w - 1) * 220 + 25 * q + 0.5)
    green = int(y / max(1, h - 1) * 220 + 20 + 0.5)
    return red, green, 230 if q else 90


@pytest.mark.parametrize("motion", ["pan", "pulse", "local-motion"])
def test_a_frame_is_its_formula(motion: str) -> None:
    w, h, n = 150, 90, 11
    name = Path(f"synthetic:{motion},size={w}x{h},frames=20,fps=7.5")
    frames = list(read_frames(name))
    assert [frame.time for frame in frames] == [Fraction(i * 2, 15) for i in range(20)]
    side, left, top = 22, 11 * 22 // 4, 34
    for x in range(0, w, 3):
        for y in range(0, h, 5):
            expected = ground((x + 16 * n) % w if motion == "pan" else x, y, w, h)
            if motion == "pulse":
                expected = tuple(v * 11 // 16 for v in expected)  # type: ignore[assignment]
            inside = left <= x < left + side and top <= y < top + side
            if motion == "local-motion" and inside:
                expected = (230, 60, 40)
            assert tuple(frames[n].rgb[y, x].tolist()) == expected, (x, y)


def test_it_is_sampled_as_a_video_is() -> None:
    name = Path("synthetic:pan,size=96x54,frames=24,fps=8")
    info = probe(name)
    assert (info.width, info.height, info.fps) == (96, 54, Fraction(8))
    assert (info.frames, info.duration) == (24, Fraction(3))
    every = list(read_frames(name))
    part = list(read_frames(name, Sampling(start=Fraction(1), fps=Fraction(4), frames=3)))
    for frame, n in zip(part, (8, 10, 12), strict=True):
        np.testing.assert_array_equal(frame.rgb, every[n].rgb)
    assert next(read_frames(name, Sampling(width=48))).rgb.shape == (27, 48, 3)


def test_defaults_and_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Synthetic.named("synthetic:pulse") == Synthetic(
        motion="pulse", width=640, height=360, frames=48, fps=Fraction(12)
    )
    assert probe(Path("synthetic:pan,size=1x1,frames=1")).width == 1
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (20, 10), "red").save("a.png")
    Path("a.png").rename("synthetic:pan")
    assert probe(Path("synthetic:pan")).width == 20


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("synthetic:pen", "no synthetic clip is called 'pen'"),
        ("synthetic:", "no synthetic clip is called ''"),
        ("synthetic:pan,size=0x4", "'size=0x4' is not one of size=WIDTHxHEIGHT"),
        ("synthetic:pan,fps=0", "'fps=0' is not"),
        ("synthetic:pan,fps=30/1", "'fps=30/1' is not"),
        ("synthetic:pan,frames=3,frames=4", "'frames=4' is not"),
        ("synthetic:pan,speed=4", "'speed=4' is not"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        probe(Path(name))
    assert says in str(error.value)
    assert error.value.hint


def test_a_picture_is_repeated(tmp_path: Path) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (12, 20, 3), np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(rgb).save(path)
    (alone,) = read_frames(path)
    frames = list(read_frames(path, Sampling(frames=5, fps=Fraction(4)), require=True))
    assert [(f.index, f.time, f.duration) for f in frames] == [
        (n, Fraction(n, 4), Fraction(1, 4)) for n in range(5)
    ]
    for frame in frames:
        np.testing.assert_array_equal(frame.rgb, alone.rgb)
    frames[0].rgb[:] = 0
    np.testing.assert_array_equal(frames[1].rgb, rgb)
