"""Opening a video: what there is at a path, and whether it is all there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from autogaze_cli.errors import InputError
from autogaze_cli.media.animations import WebPSource
from autogaze_cli.media.claims import require_true_claims
from autogaze_cli.media.limits import Limits
from autogaze_cli.media.matroska import require_true_parts
from autogaze_cli.media.notes import Notes
from autogaze_cli.media.ogg import require_few_comments
from autogaze_cli.media.png_claims import require_true_chunks
from autogaze_cli.media.sequence import ImageSequence, image_sequence
from autogaze_cli.media.source import Source
from autogaze_cli.media.sources import ContainerSource
from autogaze_cli.media.synthetic import is_synthetic
from autogaze_cli.media.synthetic_source import SyntheticSource
from autogaze_cli.media.whole import ends_in_media, missing_bytes


def open_source(
    path: Path,
    notes: Notes,
    *,
    threads: int | None = None,
    stream: int | None = None,
    allow_truncated: bool = False,
    limits: Limits,
    motion: bool = False,
) -> tuple[Source, int]:
    """Open a video, an image, an image pattern such as ``frame_%04d.png``, or a synthetic clip.

    Args:
        path: The file, the pattern, or the clip's name.
        notes: Where corrections are noted.
        threads: Decoder threads; None = FFmpeg's own choice.
        stream: Index of the stream in the file; None = FFmpeg's own choice.
        allow_truncated: Whether a file of which the end is missing is opened.
        limits: What it may claim; frames of more pixels are not decoded.
        motion: Whether the motion vectors are wanted, where the codec gives them out.

    Returns:
        The source, and how many bytes at least are missing at the end of the file.

    Raises:
        InputError: When there is nothing to read at ``path``, or not all of it.
    """
    if is_synthetic(str(path)):
        return SyntheticSource(str(path)), 0
    open_container = partial(
        ContainerSource,
        path,
        notes,
        threads=threads,
        stream=stream,
        limits=limits,
        allow_truncated=allow_truncated,
    )
    images = image_sequence(path)
    if images:
        _expect_images(path, images, limits)
        return open_container(images=images), 0
    _expect_file(path)
    head, missing, indexed = _look(path, limits)
    # FFmpeg's WebP decoder reads only still pictures.
    animated = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:] and head[20] & 2
    cut = missing and not allow_truncated
    if cut and not indexed:
        raise _truncated(path, missing)
    if animated and not cut:
        source: Source = WebPSource(path, notes, truncated=bool(missing), limits=limits)
    else:
        source = container = open_container(motion=motion)
        missing = _really_missing(container, path, missing, indexed, allow_truncated)
    if missing:
        notes.add("truncated", f"truncated: {_told(missing)}; read as far as it goes")
    return source, missing


def _look(path: Path, limits: Limits) -> tuple[bytes, int, bool]:
    """A file's first bytes, how many are missing at its end, and whether its index came first."""
    try:
        # The system's own files have no size, and reading may wait for ever.
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty", hint="copy or download it again")
        with path.open("rb") as file:
            head = file.read(64)
            missing = missing_bytes(file)
            indexed = bool(missing) and ends_in_media(file)
            if head[4:8].isalnum():
                require_true_claims(path, file, limits)
            require_true_chunks(path, file)
            require_true_parts(path, file)
            require_few_comments(path, file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return head, missing, indexed


def _expect_images(path: Path, images: ImageSequence, limits: Limits) -> None:
    for image in images.files:
        _expect_file(image)
        if image.suffix.lower() == ".png":
            with image.open("rb") as file:
                require_true_chunks(image, file)
    limits.require(path, "frames", len(images.files), f"{len(images.files)} images")


def _really_missing(
    container: ContainerSource, path: Path, missing: int, indexed: bool, allow_truncated: bool
) -> int:
    """How many bytes are missing, now that the index of the file has been read.

    Raises:
        InputError: Some are, and that is not allowed; the container is closed.
    """
    if indexed and container.has_all_of_index(path.stat().st_size):
        return 0  # only the size that it states is wrong
    if missing and not allow_truncated:
        container.close()
        raise _truncated(path, missing)
    return missing


def _expect_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path}: no such file", hint="check the spelling")
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder, not a video",
            hint=f"for numbered images give a pattern: {path / 'frame_%04d.png'}",
        )
    if not path.is_file():  # a device may be endless, and a pipe never begin
        raise InputError(
            f"{path}: is not a regular file", hint="--live reads devices; copy anything else"
        )


def _truncated(path: Path, missing: int) -> InputError:
    hint = "copy or download it again, or read what is there with --allow-truncated"
    return InputError(f"{path}: truncated: {_told(missing)}", hint=hint)


def _told(missing: int) -> str:
    return "its end is missing" if missing == 1 else f"{missing} bytes missing"
