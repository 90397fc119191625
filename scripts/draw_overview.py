"""Draw the figure at the top of the README: input, gazed cells, and the rebuilt output.

Usage: python -m scripts.draw_overview [--video fixtures/dog.mp4] [--out docs/images/overview.gif]

The bundled model runs at its defaults. Every number in the captions is counted from its trace and
from the composed frames.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import autogaze_cli
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.video import Frame
from autogaze_cli.media.videos import read_frames
from autogaze_cli.media.writers import open_writer
from autogaze_cli.trace import FrameTrace, read_trace
from autogaze_cli.visualize.compositor import Compositor, FrameView
from autogaze_cli.visualize.panels import COLOURS, fill_colour, mask_panel
from autogaze_cli.visualize.settings import Visualization

FPS, FRAMES = 8, 16
PATCHES = 14 * 14  # tokens of a vision transformer with 16 x 16 patches per 224 x 224 frame
WIDTH, HEIGHT, GAP, TITLE, CAPTION = 288, 162, 8, 28, 28
SIZE = (3 * WIDTH + 2 * GAP, TITLE + HEIGHT + CAPTION)
BACKGROUND, BRIGHT, DIM = "#15171c", "#f2f2f2", "#b4b8c0"
DRAWING = Visualization(
    mask_visualization="image-overlay",
    blend_alpha=0.55,
    visualization_mode="interframe",
    keyframe_duration=0,  # only the first frame is a keyframe
)


def main() -> None:
    """Trace the video, compose its frames and write the animation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--video", type=Path, default=Path("fixtures/dog.mp4"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/overview.gif"))
    args = parser.parse_args()
    frames = list(read_frames(args.video, Sampling(fps=Fraction(FPS), frames=FRAMES)))
    gazes = trace(args.video)
    compositor = Compositor(DRAWING)
    views = [
        compositor.step(frame.rgb, gaze.fixations)
        for frame, gaze in zip(frames, gazes, strict=True)
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write(args.out, frames, views)


def trace(video: Path) -> list[FrameTrace]:
    """Where the bundled model looks in each frame."""
    with tempfile.TemporaryDirectory() as folder:
        made = autogaze_cli.trace_video(video, fps=FPS, frames=FRAMES, out_dir=folder)
        return list(read_trace(made.files["trace"]))


def write(path: Path, frames: Iterable[Frame], views: list[FrameView]) -> None:
    """Write the animation, one page per frame, with the totals of the clip in its captions."""
    gazed = sum(len(view.fixations) for view in views)
    tokens = len(views) * PATCHES
    share = f"whole clip: {gazed} of {tokens} ({gazed / tokens:.0%})"
    quality = f"{np.mean([view.psnr_db for view in views[1:]]):.1f} dB PSNR on average"
    with open_writer(
        path, format="gif", fps=Fraction(FPS), width=SIZE[0], height=SIZE[1]
    ) as writer:
        for frame, view in zip(frames, views, strict=True):
            writer.write(np.asarray(page(frame, view, share, quality)))


def page(frame: Frame, view: FrameView, share: str, quality: str) -> Image.Image:
    """One frame of the animation: three panels, a title above and a caption below each."""
    small = reduced(frame.rgb)
    tokens = f"frame {frame.index + 1}: {len(view.fixations)} tokens; {share}"
    looked = mask_panel(np.asarray(small), view.fixations, DRAWING)
    panels = [
        (small, "Input", f"{PATCHES} patches in every frame"),
        (Image.fromarray(looked).convert("RGB"), "Where the model looks", tokens),
        (reduced(view.output), "Rebuilt from frame 1 and those cells", quality),
    ]
    image = Image.new("RGB", SIZE, BACKGROUND)
    pen = ImageDraw.Draw(image)
    for i, (panel, title, caption) in enumerate(panels):
        left = i * (WIDTH + GAP)
        image.paste(panel, (left, TITLE))
        pen.text((left + 6, TITLE / 2), title, fill=BRIGHT, font=font(14), anchor="lm")
        below = TITLE + HEIGHT + CAPTION / 2
        pen.text((left + 6, below), caption, fill=DIM, font=font(12), anchor="lm")
    draw_legend(pen, right=2 * WIDTH + GAP - 6)
    return image


def draw_legend(pen: ImageDraw.ImageDraw, right: int) -> None:
    """The colours of the scales, over the middle panel: a square per scale, sized by its cells."""
    pen.text((right, TITLE / 2), "fine", fill=DIM, font=font(11), anchor="rm")
    x = right - 26
    for colour, side in zip(reversed(COLOURS.values()), (6, 8, 11, 14), strict=True):
        box = (x - side, (TITLE - side) / 2, x, (TITLE + side) / 2)
        pen.rectangle(box, fill=fill_colour(colour), outline=colour)
        x -= side + 5
    pen.text((x - 2, TITLE / 2), "coarse", fill=DIM, font=font(11), anchor="rm")


def reduced(rgb: NDArray[np.uint8]) -> Image.Image:
    """An image at the size of a panel."""
    return Image.fromarray(rgb).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which is the same on every machine."""
    return ImageFont.load_default(size)


if __name__ == "__main__":
    main()
