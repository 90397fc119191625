"""The inputs of a command: expands the names given by the user to a list of videos."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import BinaryIO

from autogaze_cli.batch.lists import read_list
from autogaze_cli.batch.places import as_glob, fixed_part, matches, walk
from autogaze_cli.errors import (
    AutogazeError,
    ConfigError,
    InputError,
    as_autogaze_error,
    refuse_address,
)
from autogaze_cli.media.looks import LOOK_BYTES, is_text
from autogaze_cli.media.sequence import PATTERN, images_of, is_pattern
from autogaze_cli.media.synthetic import is_synthetic, synthetic_stem

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "gif", "ivf", "m2ts", "m2v", "m4v"),
        *("mj2", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "nut", "ogm", "ogv", "qt"),
        *("ts", "vob", "webm", "webp", "wmv", "y4m"),
    )
)
"""Suffixes that a folder is searched for. A file that is named directly may have any suffix."""

STDIN = "-"

_MOST_CHARACTERS, _MOST_BYTES = 4096, 255
"""Of a path, and of a name in it, on any common system."""

_OUTPUT = re.compile(r"\.(mask|interframe)\.\w+$|^autogaze_.*_(input|mask|output)\.gif$")
"""Outputs of an earlier run, which are skipped when the same folder is searched."""

_TRACE = re.compile(r"\.trace\.(json|npz|safetensors|csv)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One video.

    Attributes:
        name: As named by the user, or as found; shown in messages and recorded in outputs.
        path: What the decoder opens: a file, or an FFmpeg image pattern.
        stem: Output path relative to the output folder, without a suffix; has several parts if the
            video was found in a folder tree.
        problem: Why it cannot be processed, if already known.
    """

    name: str
    path: str
    stem: PurePath
    problem: AutogazeError | None = None


def is_named_as_trace(path: str) -> bool:
    """Whether a file is named like an output of the command ``trace``."""
    return _TRACE.search(path) is not None


def files_of(path: str) -> list[Path]:
    """The file of an input, all images of an image pattern, or nothing for a synthetic clip.

    Raises:
        OSError: There is no such file.
    """
    if is_synthetic(path):
        return []
    images = images_of(Path(path))
    if images is None:
        return [Path(path)]
    if not images:
        raise FileNotFoundError(f"{path}: no image matches")
    return sorted(images.values())


def file_state(path: str) -> object:
    """A value that changes when the files of an input change; None if there are none."""
    try:
        stats = [file.stat() for file in files_of(path)]
    except OSError:
        return None
    return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]


@contextmanager
def open_inputs(
    names: Sequence[str], *, traces: bool = False, pipes: bool = True
) -> Iterator[list[Input]]:
    """The videos that ``names`` refer to, in that order; those of a folder or a glob are sorted.

    A name is a file, a folder (searched for videos, recursively; hidden files are skipped), a
    glob, an image pattern (``frame_%04d.png``), ``@list.txt`` (whose lines are names, never globs;
    see ``read_list``), a synthetic clip (``synthetic:pan``), or ``-`` (a video on stdin, kept in a
    temporary file while the context is open). An existing file is always taken literally, even if
    its name contains wildcards. A name that yields no video becomes an input with a problem, so
    that only this input fails.

    Args:
        names: The names given by the user.
        traces: Whether a folder without videos may contain saved traces instead.
        pipes: Whether a name may be that of a pipe, whose writer is waited for; one that a list
            names is never read.

    Yields:
        The inputs, without duplicates.

    Raises:
        InputError: No name was given, or a list cannot be read.
    """
    if not names:
        raise InputError("no input given", hint="name a video: autogaze COMMAND clip.mp4")
    flat = [pair for name in names for pair in _listed(name)]
    with ExitStack() as stack:
        spool = _Spool(stack, pipes)
        found: dict[str, Input] = {}
        for name, literal in dict.fromkeys(flat):
            try:
                items = _expand(name, literal, traces, spool)
            except (AutogazeError, OSError) as error:
                problem = as_autogaze_error(error, name)
                items = [Input(name=_shown(name), path=name, stem=PurePath("_"), problem=problem)]
            for item in items:
                found.setdefault(item.path, item)
        yield _without_collisions(list(found.values()))


def named_paths(names: Sequence[str]) -> list[Path]:
    """Files and folders unchanged, with globs and ``@list.txt`` expanded.

    Raises:
        InputError: A list cannot be read, a glob matches nothing, or a name is an address or no
            path.
    """
    paths: list[Path] = []
    for name, literal in (pair for given in names for pair in _listed(given)):
        _refuse_no_path(name)
        refuse_address(name)
        pattern = as_glob(name)
        if literal or pattern is None:
            paths.append(Path(name))
        elif found := matches(pattern):
            paths += found
        else:
            raise InputError(f"{name}: matches nothing", hint="name a file or a folder")
    return paths


def _without_collisions(inputs: list[Input]) -> list[Input]:
    """Inputs that would write the same output files each get a problem that names the other."""
    by_stem: dict[PurePath, list[Input]] = {}
    for item in inputs:
        if item.problem is None:
            by_stem.setdefault(item.stem, []).append(item)
    checked = []
    for item in inputs:
        same = by_stem.get(item.stem, [])
        if len(same) > 1 and item.problem is None:
            other = next(one for one in same if one is not item)
            problem = ConfigError(
                f"{item.name} and {other.name} would both write {item.stem}.*",
                hint="run them separately, into two folders (--out-dir)",
            )
            item = replace(item, problem=problem)
        checked.append(item)
    return checked


class _Spool:
    """Copies of inputs that can be read only once, in a temporary folder created on demand.

    On disk if possible: the default temporary folder may be in memory, and videos are large.
    """

    def __init__(self, stack: ExitStack, pipes: bool) -> None:
        self.pipes = pipes
        self._stack, self._folder = stack, ""

    def keep(self, source: BinaryIO) -> Path:
        """Copy all of ``source`` into a file that a decoder can seek in."""
        if not self._folder:
            disk = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
            place = None if os.environ.get("TMPDIR") else disk
            made = tempfile.TemporaryDirectory(prefix="autogaze-", dir=place)
            self._folder = self._stack.enter_context(made)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            shutil.copyfileobj(source, file)
        return Path(file.name)


def _shown(name: str) -> str:
    """A name as messages and the manifest have it; one that is too long for a path is cut."""
    return f"{name[:60]}... ({len(name)} characters)" if _is_long(name) else name


def _is_long(name: str) -> bool:
    """Whether a name is longer than any path, or than any name in one."""
    names = os.fsencode(name).split(os.fsencode(os.sep))
    return len(name) > _MOST_CHARACTERS or max(map(len, names)) > _MOST_BYTES


def _refuse_no_path(name: str) -> None:
    """Refuse what is a path on no system."""
    if _is_long(name) or "\0" in name:
        raise InputError(f"{_shown(name)}: is no path", hint="is the list a text file?")


def _expand(name: str, literal: bool, traces: bool, spool: _Spool) -> list[Input]:
    _refuse_no_path(name)
    if not name:  # an empty path would be the current folder
        raise InputError("an input has an empty name", hint="is a variable of the shell unset?")
    if name == STDIN and not literal:
        return [_stdin(spool)]
    if is_synthetic(name):
        return [Input(name=name, path=name, stem=PurePath(synthetic_stem(name)))]
    refuse_address(name)
    path = Path(name)
    if path.is_dir():
        return _expand_folder(name, path, traces)
    pattern = None if literal else as_glob(name)
    if pattern is not None:
        found = [file for file in matches(pattern) if file.is_file()]
        return _below(name, fixed_part(pattern), found)
    if path.is_fifo():  # <(shell command): can be read only once, but a decoder seeks
        if literal or not spool.pipes:
            raise InputError(f"{name}: is a pipe", hint="- reads a video from stdin")
        with path.open("rb") as pipe:
            kept = spool.keep(pipe)
        return [Input(name=name, path=str(kept), stem=PurePath(_stem(path)))]
    return [Input(name=name, path=name, stem=PurePath(_stem(path)))]


def _expand_folder(name: str, folder: Path, traces: bool) -> list[Input]:
    files, unreadable = walk(folder)
    found = []
    for file in files:
        reason = _reason_to_skip(file)
        if reason is None:
            found.append(file)
        elif reason:
            logger.debug("%s: skipped: %s", file, reason)
    if traces and not found:
        found = [file for file in files if is_named_as_trace(file.name)]
    return _below(name, folder, found + unreadable)


def _reason_to_skip(file: Path) -> str | None:
    """Why a file in a folder is not a video: empty if that is obvious, None if it may be one."""
    suffix = file.suffix.lower()
    if suffix not in VIDEO_SUFFIXES or _OUTPUT.search(file.name):
        return ""
    look: Callable[[bytes], str | None] | None = _LOOKS.get(suffix)
    try:
        if not file.is_file():
            return ""
        if look is None or file.stat().st_size == 0:
            return None
        with file.open("rb") as opened:
            return look(opened.read(LOOK_BYTES))
    except OSError:  # reported when the file is opened
        return None


def _look_at_webp(head: bytes) -> str | None:
    """WebP: a still image, unless the extended header has the animation flag."""
    animated = head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 0x02
    return None if animated or head[:4] != b"RIFF" else "a still picture"


def _look_at_transport_stream(head: bytes) -> str | None:
    """An MPEG transport stream, and not TypeScript."""
    return "text, not a transport stream" if is_text(head) else None


_LOOKS: dict[str, Callable[[bytes], str | None]] = {
    ".webp": _look_at_webp,
    **dict.fromkeys((".ts", ".mts", ".m2ts"), _look_at_transport_stream),
}
"""Ambiguous suffixes, and the check of a file's first bytes for each."""


def _below(name: str, base: Path, files: Iterable[Path]) -> list[Input]:
    """The files of a folder tree as inputs, with stems relative to ``base``."""
    found = [
        Input(name=str(file), path=str(file), stem=_relative_stem(file, base))
        for file in sorted(files)
    ]
    if not found:
        raise InputError(
            f"{name}: contains no video files", hint="name a folder or pattern that does"
        )
    return found


def _relative_stem(file: Path, base: Path) -> PurePath:
    relative = file.relative_to(base)
    return relative.with_name(_plain_stem(relative))


def _stem(path: Path) -> str:
    """The stem of output names: ``clip`` for ``clip.mp4``, ``frame`` for ``frame_%04d.png``."""
    if not is_pattern(str(path)):
        return _plain_stem(path)
    folder = PurePath(os.path.realpath(path.parent)).name
    return PATTERN.sub("", path.stem).strip("_-. ") or folder or "frames"


def _plain_stem(path: PurePath) -> str:
    """A name without its suffix; never ``.`` or ``..``, even for a name such as ``..mp4``."""
    return path.stem if path.stem.strip(".") else path.name.strip(".") or "video"


def _listed(name: str) -> list[tuple[str, bool]]:
    """The names in ``@list.txt``, with True as they are literal; any other name unchanged."""
    if not name.startswith("@") or Path(name).exists():
        return [(name, False)]
    refuse_address(name[1:])
    return [(line, True) for line in read_list(Path(name[1:]))]


def _stdin(spool: _Spool) -> Input:
    """The video on stdin, copied to a file that a decoder can seek in."""
    if sys.stdin is None:
        raise InputError("-: stdin is closed", hint="pipe a video file in")
    path = spool.keep(sys.stdin.buffer)
    if path.stat().st_size == 0:
        raise InputError("-: stdin is empty", hint="pipe a video file in")
    return Input(name=STDIN, path=str(path), stem=PurePath("stdin"))
