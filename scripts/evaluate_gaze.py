"""Measure a checkpoint on videos: the gap it closes between random gazing and an exact teacher.

Usage: python -m scripts.evaluate_gaze VIDEO... [--model FOLDER] [--tokens 10 20]

A video's first 16 frames, centre square, 224 x 224, are gazed at with 100 tokens in the first
frame and ``n`` in each later one. Loss: mean absolute difference, in the model's normalised values,
between a frame and its reconstruction from the gazes so far, at the end of frames 1 to 15.
``teacher`` always takes the cell that lowers the loss most; ``random`` is the mean of 8 seeded
draws of distinct tokens:

    gap closed = (random - model) / (random - teacher)

``head error``: mean absolute difference between the losses that the model predicts and the true
losses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from autogaze_cli.compare.canvas import Geometry
from autogaze_cli.model.autogaze import load_model
from scripts.train.data import normalise
from scripts.train.forward import Runner
from scripts.train.measure import bounds, measure
from scripts.train.pack_data import measured_frames
from scripts.train.play import Player

_LINE = "        {:7.4f}  {:7.4f}  {:7.4f}  {:10.3f}  {:10.4f} {}"


def main() -> None:
    """Print a table for every ``n``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--model", required=True, help="folder of a checkpoint, or a cached Hub id")
    parser.add_argument("--tokens", type=int, nargs="+", default=[10, 20], help="tokens per frame")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    args = parser.parse_args()
    model = load_model(args.model, args.device)
    geometry = Geometry(model.config.layout, model.config.input_img_size, model.device)
    k = model.config.num_multi_token_pred
    frames = torch.stack([torch.from_numpy(measured_frames(path)) for path in args.videos])
    p = model.preprocessing
    video = normalise(frames.permute(0, 1, 4, 2, 3).to(model.device), p.mean, p.std)
    player, runner = Player(geometry, len(video), k), Runner(model.network, model.config)
    for n in tqdm(args.tokens, unit="budget", disable=None):
        known = bounds(geometry, video, n, k)
        found = measure(player, runner, video, n, known)
        columns = (known.teacher, known.random, found.model, found.each, found.head_error)
        tqdm.write(f"n = {n}  teacher   random    model  gap closed  head error")
        for path, row in zip(args.videos, torch.stack(columns, 1).tolist(), strict=True):
            tqdm.write(_LINE.format(*row, path.name))
        means = [float(c.mean()) for c in columns]
        means[3] = found.gap
        tqdm.write(_LINE.format(*means, "mean\n"))


if __name__ == "__main__":
    main()
