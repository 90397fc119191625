"""Time gazing and encoding what is gazed at, beside encoding every patch.

Usage: python -m scripts.bench_encoders [clip] [figure8] [--device cuda] [--dtype bfloat16 float32]

``clip``: 16 frames of 1080p in 45 tiles (or a video, ``--video``), at the gaze model's own
threshold, for encoders of the sizes of SigLIP 2 base and so400m. ``figure8``: one second of video
at eight frame rates and sizes with the shares of patches that the AutoGaze paper (arXiv 2603.12254,
figure 8) reports, SigLIP 2 so400m; in float32 without flash attention, as there, and in bfloat16
with it. Encoders have random weights, which speed does not depend on. Every time is the best of
``--repeats`` after warming up. ``--json`` and ``--plot`` (needs the extra ``plots``) write files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from autogaze_cli.bench.synthetic import seeded_frames
from autogaze_cli.bench.timing import Timer
from autogaze_cli.encoders import Encoder
from autogaze_cli.encoders.checkpoint import Processing
from autogaze_cli.encoders.network import Sizes, VisionTransformer
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames
from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.output import GazeOutput
from autogaze_cli.model.preprocess import cut_tiles

Row = dict[str, Any]

POINTS = (
    *((1, 224, 0.205), (3, 224, 0.181), (10, 224, 0.132), (30, 224, 0.069)),
    *((30, 448, 0.058), (30, 896, 0.040), (30, 1792, 0.024), (30, 3584, 0.009)),
)
"""Frames per second, pixels per side, share of patches kept: figure 8."""

PUBLISHED = {(30, 448): 8.27, (30, 896): 19.05}
"""How many times faster than dense, gaze included, as far as the paper's text gives it."""

CLIP_LEN, TILES, IMAGES = 16, 64, 256
"""Frames of a gaze model's clip; tiles gazed at together; images encoded densely together."""


def random_encoder(name: str, device: str, dtype: str, scales: str) -> Encoder:
    """An encoder of a published size with random weights; ``tiny`` is for trying this script."""
    so400m = {"width": 1152, "heads": 16, "depth": 27, "hidden": 4304}
    kinds = {
        "base": {"width": 768, "heads": 12, "depth": 12, "hidden": 3072, "patch": 16, "image": 224},
        "so400m-14": {**so400m, "patch": 14, "image": 384},
        "so400m-16": {**so400m, "patch": 16, "image": 224},
        "tiny": {"width": 64, "heads": 4, "depth": 2, "hidden": 128, "patch": 16, "image": 224},
    }
    own: Any = kinds[name]
    sizes = Sizes(family="siglip", activation="gelu_pytorch_tanh", pool="attention", **own)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer(sizes).eval().requires_grad_(False)
    network.to(torch.device(device), getattr(torch, dtype))
    half = (0.5, 0.5, 0.5)
    processing = Processing(mean=half, std=half, resample=3)
    return Encoder(network, processing, scales=scales, name=name)


def attention(dtype: str) -> AbstractContextManager[object]:
    """Float32 runs without flash attention, as the published figures do."""
    return sdpa_kernel(SDPBackend.MATH) if dtype == "float32" else nullcontext()


def dense_seconds(encoder: Encoder, pixels: Tensor, timer: Timer) -> float:
    """Seconds for all patches of all images, in batches of ``IMAGES``; a whole batch is timed.

    Images are independent, so more of them take as many times longer.
    """
    images = pixels.flatten(0, 1)[:, None]
    batch = images[:IMAGES]

    def encode(part: Tensor) -> None:
        encoder.encode(encoder.cut_all(part), attend="frame")

    whole, rest = divmod(len(images), IMAGES)
    seconds = timer.best(lambda: encode(batch)) * max(whole, 1)
    if whole and rest:
        seconds += timer.best(lambda: encode(images[:rest]))
    return seconds


def clip_rows(args: argparse.Namespace) -> Iterator[Row]:
    """The clip in tiles: gaze, cut and encode, for each encoder and precision."""
    if args.video:
        sampling = Sampling(frames=16, fps=args.fps, width=args.width, height=args.height)
        frames = [frame.rgb for frame in read_frames(args.video, sampling)]
    else:
        frames = [frame.rgb for frame in seeded_frames(16, args.width, args.height)]
    layout = TileLayout(mode="tiled", height=args.height, width=args.width)
    pictures = torch.from_numpy(np.stack(frames)).to(args.device)
    for dtype in args.dtype:
        model = load_model(args.model, args.device, dtype)
        for name, scales in args.encoder:
            encoder = random_encoder(name, args.device, dtype, scales)
            yield clip_row(args, model, encoder, pictures, layout)


def clip_row(
    args: argparse.Namespace,
    model: AutoGaze,
    encoder: Encoder,
    pictures: Tensor,
    layout: TileLayout,
) -> Row:
    """One encoder and precision: each part by itself, then all of them in one go."""
    timer, p = _timer(args), model.preprocessing

    def gaze() -> GazeOutput:
        return model.generate(cut_tiles(pictures, layout, mean=p.mean, std=p.std))

    gaze_s, found = timer.best(gaze), gaze()
    cut_s = timer.best(lambda: encoder.cut_tiles(pictures, found, layout))
    patches = encoder.cut_tiles(pictures, found, layout)
    encode_s = timer.best(lambda: encoder.encode(patches))
    all_s = timer.best(lambda: encoder.encode(encoder.cut_tiles(pictures, gaze(), layout)))
    images = torch.randn(
        1, len(layout) * len(pictures), 3, encoder.size, encoder.size, device=pictures.device
    )
    dense_s = dense_seconds(encoder, images, timer)
    return {
        "what": f"{layout.width}x{layout.height}, {len(layout)} tiles",
        "encoder": f"{encoder.name}, {'+'.join(map(str, encoder.layout.scales))}",
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "tokens": len(patches.tokens),
        "dense_tokens": images.shape[1] * encoder.layout.counts[-1],
        "gaze_s": gaze_s,
        "cut_s": cut_s,
        "encode_s": encode_s,
        "all_s": all_s,
        "dense_s": dense_s,
        "speed_up": dense_s / all_s,
    }


def figure8_rows(args: argparse.Namespace) -> Iterator[Row]:
    """The eight points of figure 8, for each precision."""
    for dtype in args.dtype:
        model = load_model(args.model, args.device, dtype)
        encoder = random_encoder(args.figure8_encoder, args.device, dtype, "32+64+112+224")
        for fps, size, share in POINTS:
            if size <= args.max_size:
                with attention(dtype):
                    yield figure8_row(args, model, encoder, fps, size, share)


def figure8_row(
    args: argparse.Namespace, model: AutoGaze, encoder: Encoder, fps: int, size: int, share: float
) -> Row:
    """One point: a second of video in tiles of 224, with that share of the dense patches."""
    tiles, timer = (size // 224) ** 2, _timer(args)
    dense = encoder.layout.counts[-1]
    clips = [min(CLIP_LEN, fps - start) for start in range(0, fps, CLIP_LEN)]
    # The same number for every tile, spread over the frames so that their mean is the share.
    budgets = np.diff(np.round(np.arange(fps + 1) * share * dense)).astype(int).clip(1).tolist()
    generator = torch.Generator(args.device).manual_seed(0)
    at_once = min(TILES, tiles)
    pixels = torch.randn(at_once, fps, 3, 224, 224, device=args.device, generator=generator)

    def gaze() -> list[GazeOutput]:
        starts = np.cumsum([0, *clips[:-1]]).tolist()
        return [
            model.generate(
                pixels[:, start : start + n],
                max_gaze_tokens_each_frame=budgets[start : start + n],
                task_loss_requirement=None,
            )
            for start, n in zip(starts, clips, strict=True)
        ]

    def encode(gazes: list[GazeOutput]) -> int:
        tokens, start = 0, 0
        for n, found in zip(clips, gazes, strict=True):
            part = pixels[:, start : start + n]
            tokens += len(encoder.encode(encoder.cut(part, found)).last_hidden_state)
            start += n
        return tokens

    rounds = tiles // at_once  # every round of tiles takes as long
    gaze_s, found = timer.best(gaze) * rounds, gaze()
    encode_s = timer.best(lambda: encode(found)) * rounds
    dense_s = dense_seconds(encoder, pixels, timer) * rounds
    return {
        "what": f"{fps} frames/s x {size} px",
        "encoder": encoder.name,
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "share": share,
        "tokens": encode(found) * rounds,
        "dense_tokens": tiles * fps * dense,
        "gaze_s": gaze_s,
        "cut_and_encode_s": encode_s,
        "all_s": gaze_s + encode_s,
        "dense_s": dense_s,
        "speed_up": dense_s / (gaze_s + encode_s),
        "published_speed_up": PUBLISHED.get((fps, size)),
    }


def _timer(args: argparse.Namespace) -> Timer:
    return Timer(args.repeats, args.enough_s, torch.device(args.device))


def show(rows: list[Row]) -> None:
    """Print rows as a Markdown table."""
    if not rows:
        return
    names = list(rows[0])
    print(f"\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")
    for row in rows:
        cells = [
            f"{v:.4g}" if isinstance(v, float) else "" if v is None else v for v in row.values()
        ]
        print(f"| {' | '.join(map(str, cells))} |")


def crossover(rows: list[Row]) -> None:
    """Print where gazing pays, and where it does not."""
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        own = [row for row in rows if row["dtype"] == dtype]
        pays = [row["what"] for row in own if row["speed_up"] > 1]
        not_ = [row["what"] for row in own if row["speed_up"] <= 1]
        print(f"\n{dtype}: gazing pays at {'; '.join(pays) or 'no point'}")
        print(f"{dtype}: gazing does not pay at {'; '.join(not_) or 'no point'}")


def plot(rows: list[Row], path: Path) -> None:
    """Draw the speed-ups of figure 8."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        own = [row for row in rows if row["dtype"] == dtype]
        places = [row["what"].replace(" frames/s", "") for row in own]
        axes.plot(places, [row["speed_up"] for row in own], marker="o", label=f"this, {dtype}")
    known = [row for row in rows if row["published_speed_up"] and row["dtype"] == rows[0]["dtype"]]
    if known:
        places = [row["what"].replace(" frames/s", "") for row in known]
        values = [row["published_speed_up"] for row in known]
        axes.plot(places, values, "kx", label="published, float32")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set(yscale="log", ylabel="times faster than dense, gaze included", xlabel="frames/s x px")
    axes.tick_params(axis="x", rotation=20)
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", choices=["clip", "figure8"], default=[])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--model", default="kestrel", help="gaze model")
    parser.add_argument("--video", type=Path, help="in place of a synthetic clip")
    parser.add_argument("--fps", type=int, help="sampling rate of the video")
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--max-size", type=int, default=3584, help="largest size of figure 8")
    parser.add_argument("--figure8-encoder", default="so400m-16")
    parser.add_argument(
        "--encoder",
        nargs=2,
        action="append",
        metavar=("NAME", "SCALES"),
        help="of the clip; repeatable",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--enough-s", type=float, default=5.0, help="seconds of repeats at most")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="of figure 8, such as figure8.svg")
    args = parser.parse_args()
    args.encoder = args.encoder or [
        ["base", "32+64+112+224"],
        ["so400m-14", "28+56+98+196"],
        ["so400m-14", "56+112+196+392"],
    ]
    found: dict[str, list[Row]] = {}
    for what in args.what or ["clip", "figure8"]:
        found[what] = []
        rows = {"clip": clip_rows, "figure8": figure8_rows}[what](args)
        for row in tqdm(rows, desc=what, unit="row", disable=None):
            found[what].append(row)
            tqdm.write(str({name: row[name] for name in ("what", "dtype", "speed_up")}))
        show(found[what])
    if "figure8" in found:
        crossover(found["figure8"])
        if args.plot:
            plot(found["figure8"], args.plot)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
