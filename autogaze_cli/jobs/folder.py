"""Finds the results in an output folder: traces, drawn files, pages, and manifest entries."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from autogaze_cli.batch.manifest import SHORTEST_LINE, whole_lines
from autogaze_cli.batch.result import MANIFEST
from autogaze_cli.errors import ConfigError, OutputError
from autogaze_cli.player.html import GENERATOR
from autogaze_cli.reading import open_regular, read_regular
from autogaze_cli.visualize.settings import Visualization

logger = logging.getLogger(__name__)

INDEX = "index.html"

# The file names of each command, see autogaze_cli/batch/result.py.
_PLAIN = re.compile(
    r"(?P<stem>.+)\.(?:trace\.(?:json|npz|safetensors|csv)|report\.html"
    r"|(?:mask|interframe)\.(?:json|gif|mp4|webm|apng|webp))",
    re.DOTALL,
)
_ASSETS = re.compile(
    r"autogaze_(?P<stem>.+)_(?:report\.html|metrics\.json|(?:input|mask|output)\.(?:gif|mp4|webm))",
    re.DOTALL,
)
_IMAGES = re.compile(r"(?P<stem>.+)\.(?:mask|interframe)", re.DOTALL)
_FIRST_IMAGE, _ALL_IMAGES = "frame_000001.png", "frame_%06d.png"
_OURS = GENERATOR.partition("autogaze")[0].encode() + b"autogaze"
_SUMMARY = b'<script type="application/json" id="summary">'
_TAIL_BYTES = 1 << 20
_MOST_METRICS = 64 << 20


@dataclass(slots=True, kw_only=True)
class Found:
    """The results of one video.

    Attributes:
        page: Path of its page, which may not exist.
        trace: Its saved trace.
        metrics: Its metrics documents, by kind of drawing.
        drawn: Its drawn videos or image patterns: ``input``, ``mask``, ``output``.
    """

    page: Path
    trace: Path | None = None
    metrics: dict[str, Path] = field(default_factory=dict)
    drawn: dict[str, Path] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """The paths of all files."""
        trace = [self.trace] if self.trace else []
        return [self.page, *trace, *self.metrics.values(), *self.drawn.values()]

    def document(self) -> dict[str, Any]:
        """The most complete metrics document of the video, or an empty one."""
        for name in ("metrics", "interframe", "mask"):
            if name in self.metrics:
                return read_object(self.metrics[name])
        return {}

    def visualization(self) -> Visualization | None:
        """The settings that it was drawn with; None if unknown."""
        document = self.document()
        names = Visualization.__dataclass_fields__
        try:
            return Visualization(**{name: document[name] for name in names})
        except (KeyError, TypeError, AttributeError, ConfigError):
            return None


def find(folder: Path) -> list[Found]:
    """The results below a folder, by path; hidden files and folders are skipped."""
    found: dict[Path, Found] = {}
    for path in sorted(_files(folder)):
        if path.is_symlink() and not _is_below(path, folder):
            continue
        if match := _ASSETS.fullmatch(path.name):
            page = path.with_name(f"autogaze_{match['stem']}_report.html")
        elif match := (_IMAGES if path.is_dir() else _PLAIN).fullmatch(path.name):
            page = path.with_name(f"{match['stem']}.report.html")
        else:
            continue
        _note(found.setdefault(page, Found(page=page)), path)
    return list(found.values())


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, and the folders of images; what is closed to us is left out."""
    folders = [folder]
    while folders:
        place = folders.pop()
        try:
            for path in list(place.iterdir()):
                if path.name.startswith("."):
                    continue
                if path.is_dir() and not path.is_symlink():
                    folders.append(path)
                    if os.path.isfile(path / _FIRST_IMAGE):  # noqa: PTH113  # False where closed
                        yield path
                elif path.is_file():
                    yield path
        except OSError as error:
            logger.warning("%s: left out: %s", place, error.strerror)


def _note(found: Found, path: Path) -> None:
    if path.is_dir():
        kind, path = path.suffix[1:], path / _ALL_IMAGES
    else:
        kind = re.split(r"[._]", path.name.removesuffix(path.suffix))[-1]
    if kind == "trace":
        found.trace = found.trace or path
    elif path.suffix == ".json":
        found.metrics[kind] = path
    elif path.suffix != ".html":
        found.drawn[{"interframe": "output"}.get(kind, kind)] = path


def find_video(source: str, videos: Path | None, results: Path) -> Path | None:
    """The video file of a trace: below ``videos``, by any trailing part of its path, or as is.

    A trace may be somebody else's and name any file, so its path is followed only below the current
    folder and that of the results.

    Args:
        source: The video's path as recorded in the trace.
        videos: A folder to search first.
        results: The folder of the results.
    """
    with suppress(OSError, ValueError):  # no name that a file can have
        return _find_video(source, videos, results)
    return None


def _find_video(source: str, videos: Path | None, results: Path) -> Path | None:
    path = PurePath(source)
    parts = [part for part in path.parts if part != path.anchor]
    if videos is not None and ".." not in parts:
        for start in range(len(parts)):
            if (there := videos.joinpath(*parts[start:])).is_file():
                return there
    here = Path(source)
    allowed = _is_below(here, Path()) or _is_below(here, results)
    return here if allowed and (here.is_file() or _is_pattern(here)) else None


def _is_below(path: Path, folder: Path) -> bool:
    """Whether a path is in a folder, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _is_pattern(path: Path) -> bool:
    """Whether a path may be a pattern of numbered images: ``frame_%04d.png``."""
    return bool(re.search(r"%\d*d", path.name)) and path.parent.is_dir()


def is_ours(path: Path) -> bool:
    """Whether a file is a page written by this program."""
    try:
        with open_regular(path) as file:
            return _OURS in (file.read(4096) or b"")
    except OSError:
        return False


def read_summary(page: Path) -> dict[str, Any]:
    """The summary at the end of a page; empty if there is none."""
    try:
        with open_regular(page) as file:
            file.seek(max(0, page.stat().st_size - _TAIL_BYTES))
            text = (file.read() or b"").rpartition(_SUMMARY)[2].partition(b"</script>")[0]
            return _mapping(text)
    except OSError:
        return {}


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty, with a warning, if it holds none."""
    try:
        found = _mapping(read_regular(path, _MOST_METRICS))
    except OSError:
        found = {}
    if not found:
        logger.warning("%s: left out: not a JSON object of finite numbers", path)
    return found


@dataclass(frozen=True, slots=True)
class Manifest:
    """The latest entries of a folder's manifest; invalid lines are skipped.

    Attributes:
        inputs: The line ``finished`` or ``failed`` of each input.
        outputs: The line ``finished`` of each output, by its path relative to the folder.
    """

    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of ``folder``; empty if there is none."""
        inputs: dict[str, Mapping[str, Any]] = {}
        outputs: dict[str, Mapping[str, Any]] = {}
        for line in _manifest_lines(folder / MANIFEST):
            name, made = line.get("input"), line.get("outputs")
            if line.get("event") not in ("finished", "failed") or not isinstance(name, str):
                continue
            inputs[name] = line
            for output in made if isinstance(made, list) else []:
                if isinstance(output, dict) and isinstance(output.get("path"), str):
                    outputs[output["path"]] = line
        return cls(inputs, outputs)

    def seconds(self, found: Found, folder: Path) -> float | None:
        """The time that a result took, if known."""
        for path in found.files():
            line = self.outputs.get(path.relative_to(folder).as_posix(), {})
            seconds = line.get("seconds")
            if isinstance(seconds, int | float):
                return seconds
        return None

    def failures(self) -> dict[str, str]:
        """The errors of the inputs whose last run failed."""
        return {
            name: str(line.get("error") or "no reason is given")
            for name, line in self.inputs.items()
            if line["event"] == "failed"
        }


def _manifest_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a manifest, up to one that is longer than any; none if there is no manifest."""
    with suppress(OSError, OutputError), open_regular(path) as file:
        lines = whole_lines(file, path)
        yield from (_mapping(line) for line in lines if len(line) >= SHORTEST_LINE)


def _mapping(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_int64)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _finite(text: str) -> float:
    """A number of JSON.

    Raises:
        ValueError: It is none that a page or a program could take.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _int64(text: str) -> int:
    """An integer of JSON; raises as ``_finite``."""
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError("an integer of over 64 bits")
    return value
