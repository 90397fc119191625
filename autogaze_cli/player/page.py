"""The page of one video, written frame by frame: pictures, cells, metrics, and the player."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.media.video import Frame
from autogaze_cli.player import html
from autogaze_cli.trace import FrameTrace, TraceHeader
from autogaze_cli.visualize.compositor import Compositor, FrameView
from autogaze_cli.visualize.document import metrics_document
from autogaze_cli.visualize.metrics import MovingAverage, RenderMetrics
from autogaze_cli.visualize.panels import mask_panel
from autogaze_cli.visualize.settings import Visualization

Pixels = NDArray[np.uint8]

PAGE_VIEW = Visualization(visualization_mode="interframe", mask_visualization="overlay")
"""Drawing settings of a page, and of its PSNR, if the run drew nothing else."""

MAX_WIDTH = 640
"""Maximum width of a picture in pixels."""

MAX_PICTURE_BYTES = 96 << 20
"""Maximum size of all pictures of a page; frames after that have cells and metrics only."""

SCRIPTS = tuple(
    f"{name}.js"
    for name in [
        "theme",
        "dom",
        "cells",
        "composite",
        "drawing",
        "shortcuts",
        "frames",
        "compose",
        "plots",
        "panels",
        "player",
        "tell",
        "start",
    ]
)
"""The scripts of the player, in load order."""

_QUALITY = 85
_THUMBNAIL = Visualization(mask_visualization="image-overlay", blend_alpha=0.5)
_THUMBNAIL_WIDTH = 192


class PageWriter:
    """Writes a page frame by frame, in constant memory.

    Args:
        path: The file, replaced if it exists.
        name: The video's name on the page; any text.
        width: Frame width in pixels.
        height: Frame height in pixels.
        about: Metadata of the page, see ``describe``.
        max_picture_bytes: See ``MAX_PICTURE_BYTES``.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        width: int,
        height: int,
        about: Mapping[str, Any],
        *,
        max_picture_bytes: int = MAX_PICTURE_BYTES,
    ) -> None:
        self._room = max_picture_bytes
        self._draws = "visualization" in about
        self._frames = 0
        self._cells: dict[bytes, int] = {}
        self._update_ema, self._psnr_ema = MovingAverage(), MovingAverage()
        self._thumbnail: str | None = None
        self._script = html.joined(SCRIPTS)
        self._file = path.open("w", encoding="utf-8")
        run = {"name": _text(name), "width": width, "height": height, **about}
        self._file.write(html.head(f"{name} - autogaze", html.asset("style.css"), self._script))
        self._file.write(html.asset("page.html").replace("@DRAWING@", html.asset("drawing.html")))
        self._file.write(html.data(run, id="run"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, view: FrameView, gaze: FrameTrace) -> None:
        """Write the next frame: its picture, its cells, and its metrics."""
        self._update_ema.add(view.update_ratio)
        self._psnr_ema.add(view.psnr_db)
        numbers = {
            "index": gaze.index,
            "time": float(gaze.time),
            "keyframe": view.keyframe,
            "mask_ratio": view.mask_ratio,
            "update_ratio": view.update_ratio,
            "update_ratio_ema": self._update_ema.value,
            "psnr_db": _finite(view.psnr_db),
            "psnr_ema_db": _finite(self._psnr_ema.value),
            "slots": int(gaze.num_gazing.sum()),
            "stop_probability": gaze.stop_probability,
        }
        picture = scaled(view.frame, MAX_WIDTH)
        if self._is_thumbnail():
            small = scaled(view.frame, _THUMBNAIL_WIDTH)
            panel = mask_panel(small, view.fixations, _THUMBNAIL)
            self._thumbnail = html.encoded(jpeg(panel[..., :3]))
        self._write(numbers | self._packed(view.fixations), {"input": picture})

    def add_pictures(self, time: float, pictures: Mapping[str, Pixels]) -> None:
        """Write the next frame of a page without cells: its drawn panels.

        Args:
            time: Time of the frame in seconds.
            pictures: Some of ``input``, ``mask``, ``output``: uint8 ``[h, w, 3]``.
        """
        scaled_down = {role: scaled(picture, MAX_WIDTH) for role, picture in pictures.items()}
        if self._is_thumbnail() and pictures:
            shown = pictures.get("output", next(iter(pictures.values())))
            self._thumbnail = html.encoded(jpeg(scaled(shown, _THUMBNAIL_WIDTH)))
        self._write({"index": self._frames, "time": time}, scaled_down)

    def close(self, document: Mapping[str, Any]) -> None:
        """Write the summary and the player.

        Args:
            document: The metrics document, complete or not.
        """
        summary = {
            "document": _plain(document),
            "frames": self._frames,
            "draws": self._draws,
            "thumbnail": self._thumbnail,
        }
        self._file.write(html.data(summary, id="summary"))
        self._file.write(html.tail(self._script))
        self._file.close()

    def _write(self, frame: dict[str, Any], pictures: Mapping[str, Pixels]) -> None:
        texts = {role: html.encoded(jpeg(picture)) for role, picture in pictures.items()}
        size = sum(map(len, texts.values()))
        if size <= self._room:
            self._room -= size
        else:
            self._room, texts = 0, {}  # nor any later one: a gap would mislead
        self._file.write(html.data(frame | {"pictures": texts}, **{"class": "frame"}))
        self._frames += 1

    def _packed(self, fixations: Fixations) -> dict[str, str]:
        """The frame's cells as indices into a list that grows by each new cell."""
        places = np.stack([fixations.x, fixations.y, fixations.width, fixations.height], axis=1)
        names = np.stack([fixations.grid, fixations.token, fixations.tile], axis=1)
        rows = np.concatenate([places.view(np.int32), names], axis=1).astype("<i4")
        new, numbers = [], np.empty(len(rows), "<u4")
        for i, row in enumerate(rows):
            key = row.tobytes()
            if key not in self._cells:
                self._cells[key] = len(self._cells)
                new.append(key)
            numbers[i] = self._cells[key]
        return {
            "new_cells": html.encoded(b"".join(new)),
            "cells": html.encoded(numbers.tobytes()),
            "confidences": html.encoded(fixations.confidence.astype("<f4").tobytes()),
        }

    def _is_thumbnail(self) -> bool:
        """Whether this frame replaces the thumbnail; the last to do so is past half the video."""
        return self._frames & (self._frames + 1) == 0


def describe(header: TraceHeader, visualization: Visualization) -> dict[str, Any]:
    """Metadata of a page with cells: the drawing settings and the trace's header."""
    mapping = {name: _plain(value) for name, value in header.to_mapping().items()}
    return {"visualization": asdict(visualization), "fps": float(header.fps), "header": mapping}


def draw_frames(
    path: Path,
    header: TraceHeader,
    size: tuple[int, int],
    visualization: Visualization,
    gazed: Iterable[tuple[Frame, FrameTrace]],
    encoding: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compose frames and write their page, without other files.

    Args:
        path: The page, replaced if it exists.
        header: The trace's header.
        size: Width and height of the frames.
        visualization: Initial drawing settings of the page, and those of its metrics.
        gazed: The frames and their gaze.
        encoding: Figures of an encoder to list on the page, by name.

    Returns:
        The metrics document.
    """
    compositor, metrics = Compositor(visualization), RenderMetrics(header.tile_size)
    frames = 0
    with open_page(path, header, size, visualization) as page:
        for frame, gaze in gazed:
            view = compositor.step(frame.rgb, gaze.fixations)
            metrics.add(view)
            page.add(view, gaze)
            frames += 1
        summary = metrics.summary()
        document = metrics_document(
            header, visualization, frames=frames, gif_size=size, summary=summary, files={}
        )
        page.close(document | ({"encoding": dict(encoding)} if encoding else {}))
    return document


def open_page(
    path: Path, header: TraceHeader, size: tuple[int, int], visualization: Visualization
) -> PageWriter:
    """A writer for a page with cells; ``size`` is the width and height of the frames."""
    return PageWriter(path, header.source, *size, describe(header, visualization))


def scaled(image: Pixels, width: int) -> Pixels:
    """The image, reduced to a maximum width; the aspect ratio is kept.

    Args:
        image: uint8 ``[height, width, 3]``.
        width: Maximum width in pixels.
    """
    rows, columns = image.shape[:2]
    if columns <= width:
        return image
    size = (width, max(1, round(rows * width / columns)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def jpeg(image: Pixels) -> bytes:
    """The image, uint8 ``[height, width, 3]``, as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _finite(value: float | None) -> float | None:
    """The number for JSON; infinity (equal pictures) becomes None."""
    return value if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """A value whose texts are valid UTF-8: undecodable bytes of file names are escaped."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
