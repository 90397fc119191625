"""How fast this machine gazes, stage by stage, beside what it could do at most."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.bench.operations import gaze_operations, vision_operations
from autogaze_cli.bench.report import Figure, document
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.settings import GazeSettings
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.inference import open_source
from autogaze_cli.media.video import Frame, Sampling, read_frames
from autogaze_cli.media.writers import Format, open_writer
from autogaze_cli.model.autogaze import AutoGaze, load_model
from autogaze_cli.model.checkpoint import Preprocessing
from autogaze_cli.model.config import GazeConfig, RopeConfig
from autogaze_cli.model.devices import choose_device
from autogaze_cli.model.network import AutoGazeNetwork
from autogaze_cli.model.preprocess import IMAGE_MEAN, IMAGE_STD, cut_tiles, square
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.metrics import RenderMetrics
from autogaze_cli.visualize.settings import Visualization

logger = logging.getLogger(__name__)

SEED = 0
_ENOUGH_S = 4.0
"""A measurement is not repeated once it has taken this long."""

_SIZES = {"full": (1920, 1080), "quick": (640, 360)}
_PRODUCT = {"cpu": (2048, 768), "cuda": (8192, 2048)}
"""Side of the square matrices whose product is the ceiling: in full, and quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What is measured.

    Attributes:
        model: A model's name or folder; None = the published sizes with seeded weights.
        clip: A video; None = a seeded one.
        frames: Frames in a clip.
        batch: Clips that are gazed at together, each number in its turn.
        gazing_ratio: Token budget as a share of a frame's tokens.
        task_loss_requirement: Where frames stop, measured beside not stopping.
        device: ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` = the CPU, and a GPU where there is one.
        dtype: Number types, each in its turn.
        repeats: Times that each is measured, after one that does not count; the best is kept.
        threads: CPU threads; None = PyTorch's choice.
        quick: Small pictures, few frames: says that all works, and roughly how fast.
        growth: Also measure twice the frames and twice the batch.
    """

    model: str | None = None
    clip: str | None = None
    frames: int = 16
    batch: tuple[int, ...] = (1, 8)
    gazing_ratio: float = 0.75
    task_loss_requirement: float = 0.7
    device: str = "auto"
    dtype: tuple[str, ...] = ("float32",)
    repeats: int = 3
    threads: int | None = None
    quick: bool = False
    growth: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("frames", "repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("batch", "dtype"):
            if not getattr(self, name):
                raise ConfigError(f"{name} must be given at least once")
        if min(self.batch) < 1:
            raise ConfigError(f"batch must be at least 1, not {min(self.batch)}")
        for dtype in self.dtype:
            if dtype not in ("float32", "bfloat16"):
                raise ConfigError(f"dtype must be float32 or bfloat16, not {dtype!r}")

    def devices(self) -> list[torch.device]:
        """Where to measure."""
        if self.device != "auto":
            return [choose_device(self.device)]
        found = [torch.device("cpu")]
        return [*found, torch.device("cuda")] if torch.cuda.is_available() else found


def seeded_model(
    device: torch.device | str = "cpu", dtype: str = "float32", seed: int = SEED
) -> AutoGaze:
    """A model of the published sizes whose weights are random, the same for a seed.

    It is as fast as a trained one where frames do not stop early, and looks nowhere in particular.
    """
    config = GazeConfig(
        layout=ScaleLayout.from_config("32+64+112+224", 265, 16),
        rope=RopeConfig(theta=500000.0, llama3=True, factor=8.0),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoGazeNetwork(config).eval().requires_grad_(False)
    network.to(torch.device(device), getattr(torch, dtype))
    preprocessing = Preprocessing(size={"shortest_edge": 224}, mean=IMAGE_MEAN, std=IMAGE_STD)
    return AutoGaze(network, config, preprocessing, name="seeded")


def seeded_frames(frames: int, width: int, height: int, seed: int = SEED) -> list[Frame]:
    """Pictures with soft ground, some grain and a square that moves, the same for a seed."""
    rng = np.random.default_rng(seed)
    down, across = np.ogrid[:height, :width]
    ground = (127 + 60 * np.sin(across / 97) + 50 * np.cos(down / 61))[..., None]
    grain = rng.normal(0, 6, (height, width, 3))
    side = height // 4
    made = []
    for n in range(frames):
        shifted = np.roll(grain, 7 * n, axis=1)
        rgb = np.clip(ground + np.array([0, 10, -15]) + shifted, 0, 255).astype(np.uint8)
        left = (n * width // 40) % (width - side)
        rgb[side : 2 * side, left : left + side] = (230, 60, 40)
        made.append(Frame(n, Fraction(n, 30), rgb))
    return made


def run_bench(settings: BenchSettings) -> dict[str, Any]:
    """Measure, and return the document that ``docs/schemas/bench.schema.json`` describes.

    Raises:
        AutogazeError: The model, the clip or the device is not there.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    places = settings.devices()
    with tempfile.TemporaryDirectory(prefix="autogaze-") as folder:
        figures = list(_video_figures(settings, Path(folder)))
    ceilings: dict[str, dict[str, float]] = {}
    growth: list[dict[str, Any]] = []
    for place in places:
        ceilings[place.type] = _ceilings(place, settings)
        for dtype in settings.dtype:
            model = _model(settings, place, dtype)
            ceiling = ceilings[place.type][f"matmul_{dtype}_gflops"]
            figures += _model_figures(settings, model, ceiling)
            if place.type == "cuda":
                figures += _tiled_figures(settings, model, ceiling)
            if settings.growth:
                growth += _growth(settings, model)
    return document(asdict(settings), ceilings, figures, growth)


def _model(settings: BenchSettings, place: torch.device, dtype: str) -> AutoGaze:
    if settings.model is None:
        return seeded_model(place, dtype)
    return load_model(settings.model, place, dtype)  # type: ignore[arg-type]  # it is checked


def best_seconds(
    call: Callable[[], object], repeats: int, device: torch.device | None = None
) -> float:
    """The least time of some calls, after one that does not count.

    Args:
        call: What to time.
        repeats: How often, unless that takes too long.
        device: The GPU that works on it, if one does.
    """

    def parts() -> tuple[float]:
        return (_seconds(call, device),)

    return best_parts(parts, repeats)[0]


def best_parts(parts: Callable[[], tuple[float, ...]], repeats: int) -> tuple[float, ...]:
    """The least of each of several times that a call takes of its own parts."""
    parts()
    found: list[tuple[float, ...]] = []
    while len(found) < repeats and sum(map(sum, found)) < _ENOUGH_S:
        found.append(parts())
    return tuple(map(min, zip(*found, strict=True)))


def _seconds(call: Callable[[], object], device: torch.device | None = None) -> float:
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def _ceilings(place: torch.device, settings: BenchSettings) -> dict[str, float]:
    """The most that this machine does: a large matrix product, and a large copy."""
    logger.info("measuring the ceilings of %s", place)
    side = _PRODUCT[place.type][settings.quick]
    found = {}
    for dtype in settings.dtype:
        a, b = torch.randn(2, side, side, device=place).to(getattr(torch, dtype))
        seconds = best_seconds(partial(torch.matmul, a, b), settings.repeats, place)
        found[f"matmul_{dtype}_gflops"] = 2 * side**3 / seconds / 1e9
    size = (1 << 24) if settings.quick else (1 << 28)
    data = torch.zeros(size, dtype=torch.uint8, device=place)
    seconds = best_seconds(partial(torch.empty_like(data).copy_, data), settings.repeats, place)
    found["copy_gb_per_second"] = 2 * size / seconds / 1e9  # each byte is read and written
    return found


def _video_figures(settings: BenchSettings, folder: Path) -> Iterator[Figure]:
    """What is done without a model: decoding, comparing, composing, encoding."""
    size = _SIZES["quick" if settings.quick else "full"]
    count = settings.frames
    frames = (
        list(read_frames(Path(settings.clip), Sampling(frames=count)))
        if settings.clip
        else seeded_frames(count, *size)
    )
    path = Path(settings.clip) if settings.clip else folder / "clip.mp4"
    figure = partial(Figure, device="cpu", frames=len(frames))

    def timed(call: Callable[[], object]) -> float:
        return best_seconds(call, settings.repeats)

    logger.info("measuring video")
    encoded = timed(partial(_encode, frames, folder / "clip.mp4", "mp4", frames[0].rgb.shape))
    sampling = Sampling(frames=len(frames))
    decode = partial(read_frames, path, sampling, threads=settings.threads)
    yield figure("decode_video", timed(lambda: _exhaust(decode())))
    source = open_source(GazeSettings())
    yield figure("patch_diff", timed(lambda: _exhaust(source.trace(frames))))
    gazes = [gaze for _, gaze in source.trace(frames)]

    def compose() -> tuple[float, float]:
        compositor = Compositor(Visualization(visualization_mode="interframe"))
        metrics, composed, drawn = RenderMetrics(), 0.0, 0.0
        for frame, gaze in zip(frames, gazes, strict=True):
            start = time.perf_counter()
            view = compositor.step(frame.rgb, gaze.fixations)
            metrics.add(view)
            composed += time.perf_counter() - start
            drawn += _seconds(lambda view=view: view.mask_panel)  # type: ignore[misc]
        return composed, drawn

    composed, drawn = best_parts(compose, settings.repeats)
    yield figure("compose", composed)
    yield figure("mask_panel", drawn)
    gif = partial(_encode, frames, folder / "clip.gif", "gif", (216, 384, 3))
    yield figure("encode_gif", timed(gif))
    yield figure("encode_mp4", encoded)


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _encode(frames: Sequence[Frame], path: Path, format: Format, shape: tuple[int, ...]) -> None:
    height, width = shape[:2]
    with open_writer(path, format=format, fps=Fraction(30), width=width, height=height) as writer:
        for frame in frames:
            writer.write(frame.rgb)


def _model_figures(settings: BenchSettings, model: AutoGaze, ceiling: float) -> Iterator[Figure]:
    """What a model does with whole frames: for each batch, stopping and not."""
    size = _SIZES["quick" if settings.quick else "full"]
    pictures = np.stack([frame.rgb for frame in seeded_frames(settings.frames, *size)])
    figure = partial(Figure, device=model.device.type, dtype=_name(model), ceiling_gflops=ceiling)
    prepare = partial(model.preprocess, pictures)
    yield Figure(
        "preprocess",
        best_seconds(prepare, settings.repeats, model.device),
        device=model.device.type,
        frames=settings.frames,
    )
    side = model.config.input_img_size
    clip = square(prepare(), side)
    for batch in settings.batch:
        logger.info("measuring %s, %s, batch %d", model.device, _name(model), batch)
        video = _turned(clip, batch)
        frames = batch * settings.frames
        of_vision = vision_operations(model.config, frames)
        same = partial(figure, batch=batch, frames=frames)
        for loss in (None, settings.task_loss_requirement):
            generate = partial(_generate, model, video, settings, loss)
            vision_s, decode_s, seconds = _generate_parts(model, generate, settings.repeats)
            work = gaze_operations(model.config, generate())
            same_loss = partial(same, task_loss_requirement=loss)
            if loss is None:
                yield same("vision", vision_s, operations=of_vision)
            yield same_loss("decode_tokens", decode_s, operations=work)
            yield same_loss("generate", seconds, operations=work + of_vision)


def _generate_parts(
    model: AutoGaze, generate: Callable[[], object], repeats: int
) -> tuple[float, ...]:
    """The times of the vision model, of choosing tokens, and of both."""
    gazing = model.network.gazing_model
    embed, vision_s = gazing.embed_video, 0.0

    def timed(video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        nonlocal vision_s
        result = []
        vision_s = _seconds(lambda: result.append(embed(video, past)), model.device)
        return result[0]

    def parts() -> tuple[float, float, float]:
        whole = _seconds(generate, model.device)
        return vision_s, whole - vision_s, whole

    gazing.embed_video = timed  # type: ignore[method-assign]
    try:
        return best_parts(parts, repeats)
    finally:
        del gazing.embed_video


def _turned(clip: Tensor, batch: int) -> Tensor:
    """Different clips of one: each begins at another frame."""
    return torch.cat([clip.roll(n, dims=1) for n in range(batch)])


def _generate(model: AutoGaze, video: Tensor, settings: BenchSettings, loss: float | None) -> Any:
    return model.generate(video, gazing_ratio=settings.gazing_ratio, task_loss_requirement=loss)


def _name(model: AutoGaze) -> str:
    return str(model.dtype).removeprefix("torch.")


def _tiled_figures(settings: BenchSettings, model: AutoGaze, ceiling: float) -> Iterator[Figure]:
    """A clip in tiles, all in one batch: from frames on the GPU to tokens on the host."""
    width, height = _SIZES["quick" if settings.quick else "full"]
    layout = TileLayout(mode="tiled", height=height, width=width)
    logger.info("measuring %s, %s, %d tiles", model.device, _name(model), len(layout))
    rgb = np.stack([frame.rgb for frame in seeded_frames(settings.frames, width, height)])
    frames = torch.from_numpy(rgb).to(model.device)
    p = model.preprocessing
    cut = partial(cut_tiles, frames, layout, mean=p.mean, std=p.std)
    tiles = cut()

    def timed(call: Callable[[], object]) -> float:
        return best_seconds(call, settings.repeats, model.device)

    count = settings.frames
    same = partial(
        Figure,
        device=model.device.type,
        dtype=_name(model),
        batch=len(layout),
        frames=count,
        ceiling_gflops=ceiling,
    )
    cut_s = timed(cut)
    generate = partial(_generate, model, tiles, settings, None)
    vision_s, decode_s, _ = _generate_parts(model, generate, settings.repeats)
    whole = timed(lambda: _generate(model, cut(), settings, None))
    of_vision = vision_operations(model.config, count * len(layout))
    work = gaze_operations(model.config, generate())
    yield same("tiled_preprocess", cut_s, ceiling_gflops=None)
    yield same("tiled_vision", vision_s, operations=of_vision)
    yield same("tiled_decode_tokens", decode_s, operations=work)
    yield same("tiled_all", whole, operations=work + of_vision)


def _growth(settings: BenchSettings, model: AutoGaze) -> Iterator[dict[str, Any]]:
    """How the time grows when there is twice as much to do, nothing stopping early."""
    side = model.config.input_img_size
    noise: NDArray[np.float32] = np.random.default_rng(SEED).standard_normal(
        (1, 2 * settings.frames, 3, side, side), np.float32
    )
    clip = torch.from_numpy(noise).to(model.device)
    batch = max(settings.batch)
    half = settings.frames
    cases: Mapping[str, tuple[tuple[int, Tensor], tuple[int, Tensor]]] = {
        "frames": ((half, clip[:, :half]), (2 * half, clip)),
        "batch": (
            (batch, _turned(clip[:, :half], batch)),
            (2 * batch, _turned(clip[:, :half], 2 * batch)),
        ),
    }
    for what, pair in cases.items():
        logger.info("measuring %s, %s, twice the %s", model.device, _name(model), what)
        seconds = [
            best_seconds(
                partial(_generate, model, video, settings, None), settings.repeats, model.device
            )
            for _, video in pair
        ]
        yield {
            "device": model.device.type,
            "dtype": _name(model),
            "what": what,
            "from": pair[0][0],
            "to": pair[1][0],
            "seconds": [round(s, 6) for s in seconds],
            "factor": round(seconds[1] / seconds[0], 3),
        }
