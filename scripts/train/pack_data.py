"""Pack footage into one file small enough to travel: fewer frames a clip, pictures as they are.

Usage: python -m scripts.train.pack_data FOOTAGE_FOLDER pack.zip [--frames 22] [--clip VIDEO ...]

The pack is a zip of WebP pictures and ``manifest.jsonl`` (see README.md). ``--clip`` adds the first
16 frames of videos as split ``clips``, cut and resized as they are measured.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

MEASURED = 16
"""Frames a clip that are measured; clips to measure keep no more."""


def main() -> None:
    """Write the pack and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--frames", type=int, default=22, help="frames kept of a training clip")
    parser.add_argument("--clip", type=Path, nargs="*", default=[], help="videos to measure on")
    args = parser.parse_args()
    lines = (args.footage / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    args.pack.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    archives = {row["archive"] for row in rows}
    opened = {name: zipfile.ZipFile(args.footage / name) for name in archives}
    with zipfile.ZipFile(args.pack, "w", zipfile.ZIP_STORED) as pack:
        for row in tqdm(rows, unit="item", disable=None):
            source = opened[row["archive"]]
            limit = MEASURED if row["split"] == "val" else args.frames
            frames = 1 if row["kind"] == "still" else min(row["frames"], limit)
            for name in picture_names(row["id"], row["kind"], frames):
                pack.writestr(name, source.read(name))
            kept.append({key: row[key] for key in ("id", "kind", "split", "source")})
            kept[-1]["frames"] = frames
        for path in tqdm(args.clip, unit="clip", disable=None):
            for name, frame in zip(
                picture_names(path.stem, "video", MEASURED), measured_frames(path), strict=True
            ):
                pack.writestr(name, _webp(frame))
            kept.append({"id": path.stem, "kind": "video", "split": "clips", "source": path.name})
            kept[-1]["frames"] = MEASURED
        pack.writestr("manifest.jsonl", "".join(json.dumps(row) + "\n" for row in kept))
    frames = sum(row["frames"] for row in kept)
    print(
        f"{args.pack}: {len(kept)} items, {frames} frames, {args.pack.stat().st_size / 1e6:.1f} MB"
    )


def picture_names(name: str, kind: str, frames: int) -> list[str]:
    """Names of an item's pictures in an archive."""
    return [f"{name}.webp"] if kind == "still" else [f"{name}/{i:03d}.webp" for i in range(frames)]


def measured_frames(path: Path, frames: int = MEASURED) -> NDArray[np.uint8]:
    """The first frames of a video, centre square, 224 x 224, RGB ``[frames, 224, 224, 3]``.

    The last frame is repeated where a video is shorter.
    """
    import av  # where models are trained there need not be one

    pictures = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            rotation = getattr(frame, "rotation", 0)
            pictures.append(centre_square(np.rot90(picture, rotation // 90)))
            if len(pictures) == frames:
                break
    if not pictures:
        raise SystemExit(f"{path}: holds no frames")
    pictures += pictures[-1:] * (frames - len(pictures))
    return np.stack(pictures)


def centre_square(picture: NDArray[np.uint8], side: int = 224) -> NDArray[np.uint8]:
    """The centre square of RGB ``[h, w, 3]``, resized (bilinear, antialiased)."""
    h, w, _ = picture.shape
    s = min(h, w)
    top, left = (h - s) // 2, (w - s) // 2
    image = Image.fromarray(np.ascontiguousarray(picture[top : top + s, left : left + s]))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def _webp(picture: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "WEBP", quality=93, method=4)
    return data.getvalue()


if __name__ == "__main__":
    main()
