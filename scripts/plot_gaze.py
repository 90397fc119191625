"""Plot loss against tokens per frame: the exact teacher, a model, patch-diff and random gazing.

Usage: python -m scripts.plot_gaze VIDEO... --model FOLDER [--out docs/images/gaze_loss.png]

Clips and loss are those of ``scripts.evaluate_gaze``. ``patch-diff`` gazes at the finest cells that
changed most since the frame before; in the first frame, at those that differ most from the mean.
Needs the extra ``plots``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from autogaze_cli.compare.canvas import Geometry
from autogaze_cli.model.autogaze import load_model
from scripts.train.data import normalise
from scripts.train.forward import Runner
from scripts.train.measure import bounds, budgets, measure
from scripts.train.pack_data import measured_frames
from scripts.train.play import Player
from scripts.train.simulate import Canvas

COLOURS = {"random": "#888888", "patch-diff": "#d07020", "model": "#1060c0", "teacher": "#208040"}


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
    for n in tqdm(args.tokens, unit="budget", disable=None):
        known = bounds(geometry, video, n, k)
        found = {
            "random": known.random,
            "patch-diff": patch_diff_loss(geometry, video, budgets(n, video.shape[1])),
            "model": measure(player, runner, video, n, known).model,
            "teacher": known.teacher,
        }
        for name, losses in found.items():
            lines[name].append(float(losses.mean()))
        means = "  ".join(f"{name} {values[-1]:.3f}" for name, values in lines.items())
        tqdm.write(f"{n} {means}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(args.tokens, lines).savefig(args.out)


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


def draw(tokens: Sequence[int], lines: dict[str, list[float]]) -> Figure:
    """The plot of the lines, each labelled at its end."""
    figure = Figure(figsize=(8.8, 5.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, losses in lines.items():
        axes.plot(tokens, losses, "o-", color=COLOURS[name], linewidth=2, clip_on=False)
    axes.set_xlim(0, max(tokens))
    axes.set_ylim(bottom=0)
    axes.set_xticks(tokens)
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("tokens per frame (100 in frame 0)")
    axes.set_ylabel("reconstruction loss")
    axes.set_title("Loss left after gazing, mean of frames 1 to 15", loc="left")
    # Names are placed at the ends of their lines, at least one line of text apart.
    spacing, below = axes.get_ylim()[1] / 22, float("inf")
    for name, losses in sorted(lines.items(), key=lambda line: -line[1][-1]):
        below = min(losses[-1], below - spacing)
        axes.annotate(
            name,
            (tokens[-1], below),
            xytext=(10, 0),
            textcoords="offset points",
            verticalalignment="center",
            color=COLOURS[name],
            fontsize="large",
        )
    return figure


if __name__ == "__main__":
    main()
