"""The inputs of a command: from what the user named to a list of videos and the names they give."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from autogaze_cli.errors import ConfigError, InputError

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3gp", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts"),
        *("ogv", "ts", "webm", "webp", "wmv"),
    )
)
"""What a folder is searched for. A file named on its own may have any suffix."""

STDIN = "-"

_OURS = re.compile(r"\.(mask|interframe)\.\w+$|^autogaze_.*_(input|mask|output)\.gif$")
"""Outputs of an earlier run, which a search of the same folder leaves alone."""

_TRACE = re.compile(r"\.trace\.(json|npz|safetensors|csv)$")

_PATTERN = re.compile(r"%0?\d*d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One video.

    Attributes:
        name: As the user named it (or as it was found); shown in messages, recorded in outputs.
        path: What the decoder opens: a file, or an FFmpeg image pattern.
        stem: Where its outputs go, below the output folder and without a suffix; a path of several
            parts when the video was found in a tree.
    """

    name: str
    path: str
    stem: PurePath


def is_named_as_trace(path: str) -> bool:
    """Whether a file has a name that the command ``trace`` gives."""
    return _TRACE.search(path) is not None


def is_pattern(path: str) -> bool:
    """Whether ``path`` is an FFmpeg image pattern and not the name of a file.

    >>> is_pattern("frame_%04d.png"), is_pattern("clip.mp4")
    (True, False)
    """
    return _PATTERN.search(PurePath(path).name) is not None and not Path(path).exists()


@contextmanager
def open_inputs(names: Sequence[str], *, traces: bool = False) -> Iterator[list[Input]]:
    """The videos that ``names`` stand for, in the order named; a folder's and a glob's are sorted.

    A name is a file, a folder (searched for videos, recursively; hidden files are left out), a
    glob, an image pattern (``frame_%04d.png``), ``@list.txt`` (a name a line; blank lines and ``#``
    comments are skipped), or ``-`` (a video on stdin, kept in a temporary file while the context is
    open). A plain file need not exist yet: it fails when its turn comes, and the others do not.

    Args:
        names: What the user gave.
        traces: Whether a folder without a video may hold saved traces instead.

    Yields:
        The inputs; each video once.

    Raises:
        InputError: Nothing was named, or a list, a folder or a glob yields no video.
    """
    if not names:
        raise InputError("no input given", hint="name a video: autogaze COMMAND clip.mp4")
    flat = [line for name in names for line in _lines(name)]
    with tempfile.TemporaryDirectory(prefix="autogaze-") as spool:
        found: dict[str, Input] = {}
        for name in dict.fromkeys(flat):
            for item in _expand(name, traces, Path(spool)):
                found.setdefault(item.path, item)
        yield list(found.values())


def named_paths(names: Sequence[str]) -> list[Path]:
    """Files and folders as they are, and what globs and ``@list.txt`` stand for.

    Raises:
        InputError: A list cannot be read, or a glob matches nothing.
    """
    paths: list[Path] = []
    for name in (line for given in names for line in _lines(given)):
        if not glob.has_magic(name) or Path(name).exists():
            paths.append(Path(name))
        elif found := sorted(glob.glob(name, recursive=True)):  # noqa: PTH207  # a whole pattern
            paths += map(Path, found)
        else:
            raise InputError(f"{name}: matches nothing", hint="name a file or a folder")
    return paths


def refuse_collisions(inputs: Sequence[Input]) -> None:
    """Refuse two inputs whose outputs would be the same files.

    Raises:
        ConfigError: Naming both.
    """
    seen: dict[PurePath, Input] = {}
    for item in inputs:
        other = seen.setdefault(item.stem, item)
        if other is not item:
            raise ConfigError(
                f"{other.name} and {item.name} would both write {item.stem}.*",
                hint="run them apart, into two folders (--out-dir)",
            )


def _expand(name: str, traces: bool, spool: Path) -> list[Input]:
    if not name:  # a path of no parts would be the current folder
        raise InputError("an input has an empty name", hint="is a variable of the shell unset?")
    if name == STDIN:
        return [_stdin(spool)]
    path = Path(name)
    if path.is_dir():
        files, closed = _walk(path)
        found = [file for file in files if _is_video(file)]
        if traces and not found:
            found = [file for file in files if is_named_as_trace(file.name)]
        return _below(name, path, found + closed)
    if glob.has_magic(name) and not path.exists():
        found = [file for file in _matches(name) if file.is_file()]
        return _below(name, _fixed_part(path), found)
    if path.is_fifo():  # <(a command of the shell): it can be read once, and a decoder seeks
        kept = spool / str(len(list(spool.iterdir())))
        with path.open("rb") as pipe, kept.open("wb") as file:
            shutil.copyfileobj(pipe, file)
        return [Input(name=name, path=str(kept), stem=PurePath(_stem(path)))]
    return [Input(name=name, path=name, stem=PurePath(_stem(path)))]


def _matches(pattern: str) -> list[Path]:
    """What a glob matches; a folder that links lead to in many ways, or in a circle, once."""
    places: dict[tuple[str, str], Path] = {}
    for match in sorted(glob.glob(pattern, recursive=True), key=len):  # noqa: PTH207  # a whole pattern
        file = Path(match)
        places.setdefault((os.path.realpath(file.parent), file.name), file)
    return list(places.values())


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder but hidden ones; and, for each folder that is closed to us, ``*``.

    The latter cannot be opened either, so that a folder that was left out is an input that failed.
    """
    closed: list[Path] = []
    files: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=lambda e: closed.append(Path(e.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    return files, [place / "*" for place in closed]


def _is_video(file: Path) -> bool:
    if file.suffix.lower() not in VIDEO_SUFFIXES or _OURS.search(file.name):
        return False
    try:
        return file.is_file()
    except PermissionError:  # which whoever opens it will say
        return True


def _below(name: str, base: Path, files: list[Path]) -> list[Input]:
    """The files of a tree, their stems relative to its base."""
    if not files:
        raise InputError(f"{name}: holds no video", hint="name a folder or pattern that does")
    return [
        Input(name=str(file), path=str(file), stem=file.relative_to(base).with_suffix(""))
        for file in sorted(files)
    ]


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before the first wildcard."""
    fixed = Path(pattern.anchor)
    for part in pattern.relative_to(pattern.anchor).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _stem(path: Path) -> str:
    """The name outputs get: ``clip`` for ``clip.mp4``, ``frame`` for ``frame_%04d.png``."""
    if not is_pattern(str(path)):
        return path.stem or path.resolve().name
    return _PATTERN.sub("", path.stem).strip("_-. ") or path.resolve().parent.name or "frames"


def _lines(name: str) -> list[str]:
    """The names in ``@list.txt``; any other name is itself."""
    if not name.startswith("@") or Path(name).exists():
        return [name]
    try:
        text = Path(name[1:]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: cannot read the list: {error}", hint="give a text file with a path a line"
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise InputError(f"{name}: the list is empty", hint="write a path on each line")
    return lines


def _stdin(spool: Path) -> Input:
    """The video on stdin, as a file that a decoder can seek in."""
    path = spool / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if path.stat().st_size == 0:
        raise InputError("-: nothing came on stdin", hint="pipe a video file in")
    return Input(name=STDIN, path=str(path), stem=PurePath("stdin"))
