"""The page of one video, written a frame at a time: pictures, cells, numbers, and the player."""

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
"""How a page draws, and what its PSNR is of, where nothing else was drawn."""

MAX_WIDTH = 640
"""Pixels of width a picture has at most."""

MAX_PICTURE_BYTES = 96 << 20
"""Of a page's pictures together; frames after that have cells and numbers only."""

SCRIPTS = tuple(
    f"{name}.js"
    for name in [
        "theme",
        "cells",
        "frames",
        "compose",
        "plots",
        "panels",
        "player",
        "tell",
        "start",
    ]
)
"""The player, in the order it is read."""

_QUALITY = 85
_THUMBNAIL = Visualization(mask_visualization="image-overlay", blend_alpha=0.5)
_THUMBNAIL_WIDTH = 192


class PageWriter:
    """Writes a page as its frames come, so that memory does not grow with them.

    Args:
        path: The file, replaced if it exists.
        name: How the page calls the video; any text.
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        about: What the page says once, see ``describe``.
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
        self._file.write(html.asset("page.html"))
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
        """Write the next frame: its picture, its cells, and the numbers of the run."""
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
        """Write the next frame of a page that cannot draw: its panels as they were drawn.

        Args:
            time: Seconds.
            pictures: ``input``, ``mask``, ``output``, as far as they are known: uint8 [h, w, 3].
        """
        scaled_down = {role: scaled(picture, MAX_WIDTH) for role, picture in pictures.items()}
        if self._is_thumbnail() and pictures:
            shown = pictures.get("output", next(iter(pictures.values())))
            self._thumbnail = html.encoded(jpeg(scaled(shown, _THUMBNAIL_WIDTH)))
        self._write({"index": self._frames, "time": time}, scaled_down)

    def close(self, document: Mapping[str, Any]) -> None:
        """Write what is known at the end, and the player.

        Args:
            document: The metrics document, or what is known of one.
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
            self._room, texts = 0, {}  # none of the later ones either: a gap would mislead
        self._file.write(html.data(frame | {"pictures": texts}, **{"class": "frame"}))
        self._frames += 1

    def _packed(self, fixations: Fixations) -> dict[str, str]:
        """The frame's cells as numbers of a list that grows with each cell not seen before."""
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
        """Whether this frame shows the video better than those before: one of the later half."""
        return self._frames & (self._frames + 1) == 0


def describe(header: TraceHeader, visualization: Visualization) -> dict[str, Any]:
    """What a page that can draw says once: how the run drew, and where its gaze is from."""
    mapping = {name: _plain(value) for name, value in header.to_mapping().items()}
    return {"visualization": asdict(visualization), "fps": float(header.fps), "header": mapping}


def draw_frames(
    path: Path,
    header: TraceHeader,
    size: tuple[int, int],
    visualization: Visualization,
    gazed: Iterable[tuple[Frame, FrameTrace]],
) -> dict[str, Any]:
    """Compose frames for a page alone, and write it.

    Args:
        path: The page, replaced if it exists.
        header: Of the trace.
        size: Width and height of the frames.
        visualization: How the page draws at first, and what its numbers are of.
        gazed: The frames and their gaze.

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
        page.close(document)
    return document


def open_page(
    path: Path, header: TraceHeader, size: tuple[int, int], visualization: Visualization
) -> PageWriter:
    """A page of frames of that width and height, which its reader can draw anew."""
    return PageWriter(path, header.source, *size, describe(header, visualization))


def scaled(image: Pixels, width: int) -> Pixels:
    """The image, its shape kept, at most that wide.

    Args:
        image: uint8 ``[height, width, 3]``.
        width: Pixels.
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
    """The number as JSON has it: infinity, which is that of equal pictures, is none."""
    return value if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """A value with its texts fit for UTF-8: bytes of a file name that are no text are escaped."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
