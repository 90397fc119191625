"""Numbered images, which a pattern such as ``frame_%04d.png`` stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath

from autogaze_cli.errors import InputError

PATTERN = re.compile(r"%0?(\d{0,3})d")  # a name has 255 bytes


@dataclass(frozen=True, slots=True)
class ImageSequence:
    """The images of a pattern.

    Attributes:
        address: The pattern as FFmpeg takes it.
        first: The first number.
        files: The images, by number.
    """

    address: Path
    first: int
    files: list[Path]


def is_pattern(path: str) -> bool:
    """Whether ``path`` is an FFmpeg image pattern and not the name of a file.

    >>> is_pattern("frame_%04d.png"), is_pattern("clip.mp4")
    (True, False)
    """
    return PATTERN.search(PurePath(path).name) is not None and not Path(path).exists()


def images_of(path: Path) -> dict[int, Path] | None:
    """The images of a pattern by their numbers; None when it is no pattern, or a file's name.

    Raises:
        OSError: The folder cannot be read.
    """
    pattern = PATTERN.search(path.name)
    if path.exists() or not pattern or not path.parent.is_dir():
        return None
    before, after = path.name[: pattern.start()], path.name[pattern.end() :]
    name = re.compile(re.escape(before) + r"(\d+)" + re.escape(after), re.DOTALL)
    found = {}
    for entry in path.parent.iterdir():
        match = name.fullmatch(entry.name)
        if match and pattern[0] % int(match[1]) == match[1]:
            found[int(match[1])] = entry
    return found


def image_sequence(path: Path) -> ImageSequence | None:
    """The images that ``path`` stands for; None when it is no pattern, or a file of that name.

    Raises:
        InputError: There are none, or one is missing between others.
    """
    found = images_of(path)
    if found is None:
        return None
    if not found:
        raise InputError(f"{path}: no file matches this pattern")
    pattern = PATTERN.search(path.name)
    assert pattern is not None
    before, after = path.name[: pattern.start()], path.name[pattern.end() :]
    numbers = sorted(found)
    for number, following in pairwise(numbers):
        if following != number + 1:
            first, last = number + 1, following - 1
            gap = f"image {first} is" if first == last else f"images {first} to {last} are"
            raise InputError(
                f"{path}: {gap} missing, between {number} and {following}",
                hint="add what is missing, or renumber the images",
            )
    escaped = before.replace("%", "%%") + pattern[0] + after.replace("%", "%%")
    folder = str(path.parent.absolute()).replace("%", "%%")
    return ImageSequence(Path(folder, escaped), numbers[0], [found[n] for n in numbers])
