"""Plot loss against tokens a frame: the exact teacher, a model, patch-diff and random gazing.

Usage: python -m scripts.plot_gaze VIDEO... --model FOLDER [--out docs/images/gaze_loss.png]

Clips and loss are those of ``scripts.evaluate_gaze``. ``patch-diff`` gazes at the finest cells that
changed most since the frame before; in the first frame, at those that differ most from the mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from autogaze_cli.model.autogaze import load_model
from scripts.train.data import normalise
from scripts.train.forward import Runner
from scripts.train.measure import bounds, budgets, measure
from scripts.train.pack_data import measured_frames
from scripts.train.play import Player
from scripts.train.simulate import Canvas, Geometry

COLOURS = {"random": "#888888", "patch-diff": "#d07020", "model": "#1060c0", "teacher": "#208040"}
SIZE, LEFT, TOP, RIGHT, BOTTOM = (880, 520), 70, 50, 120, 60


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--model", required=True, help="folder of a checkpoint")
    parser.add_argument("--tokens", type=int, nargs="+", default=[5, 10, 20, 30, 40, 60])
    parser.add_argument("--out", type=Path, default=Path("docs/images/gaze_loss.png"))
    args = parser.parse_args()
    model = load_model(args.model)
    k = model.config.num_multi_token_pred
    geometry = Geometry(model.config.layout, model.config.input_img_size)
    frames = torch.stack([torch.from_numpy(measured_frames(path)) for path in args.videos])
    p = model.preprocessing
    video = normalise(frames.permute(0, 1, 4, 2, 3), p.mean, p.std)
    player, runner = Player(geometry, len(video), k), Runner(model.network, model.config)
    lines: dict[str, list[float]] = {name: [] for name in COLOURS}
    for n in args.tokens:
        known = bounds(geometry, video, n, k)
        found = {
            "random": known.random,
            "patch-diff": patch_diff_loss(geometry, video, budgets(n, video.shape[1])),
            "model": measure(player, runner, video, n, known).model,
            "teacher": known.teacher,
        }
        for name, losses in found.items():
            lines[name].append(float(losses.mean()))
        print(
            n, "  ".join(f"{name} {values[-1]:.3f}" for name, values in lines.items()), flush=True
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(args.tokens, lines).save(args.out, optimize=True)


def patch_diff_loss(geometry: Geometry, video: Tensor, each: Sequence[int]) -> Tensor:
    """Mean loss from the second frame on, ``[b]``, when the most changed finest cells are gazed."""
    canvas = Canvas(geometry, len(video))
    finest = torch.nonzero(geometry.rank == geometry.rank.max())[:, 0]
    across = round(len(finest) ** 0.5)
    previous, ends = torch.zeros_like(video[:, 0]), []
    for frame, n in zip(video.unbind(1), each, strict=True):
        canvas.look(frame)
        change = (frame - previous).abs().mean(1, keepdim=True)
        scores = torch.nn.functional.adaptive_avg_pool2d(change, across).flatten(1)
        for cells in scores.argsort(1, descending=True)[:, :n].unbind(1):
            canvas.gaze(finest[cells])
        ends.append(canvas.loss())
        previous = frame
    return torch.stack(ends[1:], dim=1).mean(1)


def draw(tokens: Sequence[int], lines: dict[str, list[float]]) -> Image.Image:
    """The lines over their axes, each with its name at its end."""
    image = Image.new("RGB", SIZE, "white")
    pen, font, small = ImageDraw.Draw(image), _font(16), _font(14)
    right, bottom = SIZE[0] - RIGHT, SIZE[1] - BOTTOM
    top = max(max(values) for values in lines.values()) * 1.05

    def place(n: float, loss: float) -> tuple[float, float]:
        x = LEFT + (right - LEFT) * n / max(tokens)
        return x, bottom - (bottom - TOP) * loss / top

    for i in range(int(top * 10) + 1):
        y = place(0, i / 10)[1]
        pen.line([(LEFT, y), (right, y)], fill="#dddddd")
        pen.text((LEFT - 8, y), f"{i / 10:.1f}", fill="#333333", font=small, anchor="rm")
    for n in tokens:
        pen.text((place(n, 0)[0], bottom + 8), str(n), fill="#333333", font=small, anchor="mt")
    for name, values in lines.items():
        points = [place(n, loss) for n, loss in zip(tokens, values, strict=True)]
        pen.line(points, fill=COLOURS[name], width=3, joint="curve")
        for x, y in points:
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=COLOURS[name])
    # Names stand in the order of the lines' ends, kept a line apart.
    below = 0.0
    for name, values in sorted(lines.items(), key=lambda line: -line[1][-1]):
        x, y = place(tokens[-1], values[-1])
        below = max(y, below + 20)
        pen.text((x + 10, below), name, fill=COLOURS[name], font=font, anchor="lm")
    pen.text((LEFT, 14), "Loss left after gazing, mean of frames 1 to 15", fill="black", font=font)
    middle = ((LEFT + right) / 2, SIZE[1] - 12)
    pen.text(middle, "tokens a frame (100 in frame 0)", fill="black", font=font, anchor="mb")
    return image


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


if __name__ == "__main__":
    main()
