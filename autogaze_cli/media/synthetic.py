"""The names of synthetic clips, such as ``synthetic:pan,size=640x360,frames=48,fps=12``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self, cast, get_args

from autogaze_cli.errors import InputError, did_you_mean

Motion = Literal["pan", "pulse", "local-motion"]

PREFIX = "synthetic:"

_NUMBERS = {
    "size": re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})", re.ASCII),
    "frames": re.compile(r"[1-9]\d{0,8}", re.ASCII),
    "fps": re.compile(r"0*[1-9]\d{0,5}(\.\d{1,6})?", re.ASCII),
}
_EXAMPLE = "synthetic:pan, or synthetic:pan,size=640x360,frames=48,fps=12"


def is_synthetic(name: str) -> bool:
    """Whether an input is a synthetic clip, and not a file of that name."""
    return name.startswith(PREFIX) and not Path(name).exists()


def synthetic_stem(name: str) -> str:
    """The stem of outputs.

    >>> synthetic_stem("synthetic:pan,size=64x48")
    'synthetic-pan-size=64x48'
    """
    return re.sub(r"[^\w.=-]", "-", name, flags=re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """A synthetic clip.

    Attributes:
        motion: What moves.
        width: Pixels.
        height: Pixels.
        frames: How many there are.
        fps: Frames per second.
    """

    motion: Motion
    width: int = 640
    height: int = 360
    frames: int = 48
    fps: Fraction = Fraction(12)

    @classmethod
    def named(cls, name: str) -> Self:
        """The clip of an input such as ``synthetic:pan,size=640x360,frames=48,fps=12``.

        Raises:
            InputError: It names no such clip.
        """
        motion, *settings = name.removeprefix(PREFIX).split(",")
        motions = get_args(Motion)
        if motion not in motions:
            hint = did_you_mean(motion, motions, f"write {_EXAMPLE}")
            raise InputError(f"{name}: no synthetic clip is called {motion!r}", hint=hint)
        given: dict[str, str] = {}
        for setting in settings:
            key, _, value = setting.partition("=")
            if key not in _NUMBERS or key in given or not _NUMBERS[key].fullmatch(value):
                raise InputError(
                    f"{name}: {setting!r} is not one of size=WIDTHxHEIGHT, frames=N and fps=N",
                    hint=f"write {_EXAMPLE}",
                )
            given[key] = value
        clip = cls(motion=cast("Motion", motion))
        if "size" in given:
            width, height = map(int, given["size"].split("x"))
            clip = replace(clip, width=width, height=height)
        frames, fps = given.get("frames", clip.frames), given.get("fps", clip.fps)
        return replace(clip, frames=int(frames), fps=Fraction(fps))
