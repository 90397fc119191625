"""Train the model, or go on training it.

Usage: python -m scripts.train.run --pack pack.zip --state FOLDER --minutes 8 --total-minutes 32

``FOLDER`` holds a checkpoint in the published layout (the average of the weights) and what training
resumes from; where it holds none yet, training starts anew. Learning rate and mix follow the share
of ``--total-minutes`` that has passed, over all sittings.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autogaze_cli.compare.canvas import Geometry
from autogaze_cli.model.config import GazeConfig
from scripts.train.checkpoint import (
    STATE,
    Average,
    load_state,
    new_network,
    published_config,
    save_checkpoint,
    save_state,
)
from scripts.train.data import Augmenter, measured_clips, normalise, read_pack, sample
from scripts.train.forward import Runner, layer_forward
from scripts.train.loss import LossSettings, training_loss
from scripts.train.measure import Bounds, bounds, measure
from scripts.train.optimizer import Optimizer
from scripts.train.play import Mix, Player


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of a training run.

    Attributes:
        rate: Greatest learning rate.
        warm_up: Steps in which it is reached.
        play: Clips gazed at together.
        batch: Of them, clips a training step.
        frames: Of a clip.
        teacher_until: Share of the run after which the model gazes at most clips itself.
        average: Decay of the average of the weights.
        seed: Of weights, clips and budgets.
        loss: Weights of the training loss.
        muon: Whether matrices are trained by Muon.
    """

    rate: float = 2e-3
    warm_up: int = 150
    play: int = 256
    batch: int = 64
    frames: int = 16
    teacher_until: float = 0.06
    average: float = 0.997
    seed: int = 1
    loss: LossSettings = field(default_factory=LossSettings)
    muon: bool = True


class Trainer:
    """A network in training; ``done`` is the share of the whole run that has passed."""

    def __init__(
        self,
        config: dict[str, Any],
        augmenter: Augmenter,
        settings: Settings,
        device: torch.device,
        *,
        compiled: bool = False,
    ) -> None:
        s = self.settings = settings
        self.raw, self.config = config, GazeConfig.from_mapping(config)
        self.device, self.augmenter = device, augmenter
        self.network = new_network(self.config, s.seed).to(device)
        self.average = Average(self.network, s.average)
        self.optimizer = Optimizer(self.network, muon=s.muon)
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        layer = torch.compile(layer_forward) if compiled else layer_forward
        self.runner = Runner(self.network, self.config, self.dtype, layer)
        self.geometry = Geometry(self.config.layout, self.config.input_img_size, device)
        self.player = Player(self.geometry, s.play, self.config.num_multi_token_pred)
        self.rng = np.random.default_rng(s.seed)
        self.steps, self.seconds, self.rewarm = 0, 0.0, 0
        self.times: dict[str, float] = defaultdict(float)

    def round(self, done: float) -> dict[str, float]:
        """Draw clips, play them, and take a training step on each part of them."""
        s = self.settings
        each = draw_budgets(self.rng, s.frames)
        with self._timed("clips"):
            clips = self.augmenter.clips(s.play, s.frames)
        with self._timed("play"):
            mix = self._mix(done)
            runner = None if done < s.teacher_until / 3 else self.runner
            played = self.player.play(normalise(clips), each, runner, mix)
        logs: dict[str, Tensor] = {}
        with self._timed("train"):
            order = torch.randperm(s.play, device=self.device)
            for rows in torch.split(order, s.batch):
                logits, predicted = self.runner.scores(
                    normalise(clips[rows]), played.ids[rows], each
                )
                loss, logs = training_loss(
                    logits, predicted, played.gains[rows], played.losses[rows], s.loss
                )
                loss.backward()  # type: ignore[no-untyped-call]
                logs["norm"] = self.optimizer.step(self.rate(done))
                self.average.update(self.network)
                self.steps += 1
        logs["end"] = played.ends[:, 1:].mean()
        return {name: float(value) for name, value in logs.items()}

    def rate(self, done: float) -> float:
        """Learning rate: warm-up, level, and from a third of the run straight down to zero."""
        s = self.settings
        warm = min(1.0, (self.steps - self.rewarm + 1) / s.warm_up)
        return s.rate * warm * min(1.0, max(0.0, 1 - done) / 0.67)

    def _mix(self, done: float) -> Mix:
        """Who gazes: at first the teacher, later mostly the model, some rows with chance in it."""
        n, until = self.settings.play, self.settings.teacher_until
        whole = max(0.1, 1 - done / until) if until else 0.1
        kind, share = self.rng.random((2, n))
        teacher = np.where(kind < whole, 1.0, np.where(kind < whole + 0.15, 0.5 * share, 0.0))
        noise = np.where(self.rng.random(n) < 0.25, self.rng.random(n), 0.0)
        both = (torch.from_numpy(a).float().to(self.device) for a in (teacher, noise))
        return Mix(teacher=next(both), noise=next(both))

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.times[name] += time.perf_counter() - start

    def averaged(self) -> Runner:
        """The average of the weights, in full precision, for measuring."""
        network = new_network(self.config, 0).to(self.device)
        network.load_state_dict(self.average.weights)
        return Runner(network, self.config)

    def save(self, folder: Path) -> None:
        """Write the checkpoint and what training resumes from."""
        save_checkpoint(folder, self.average.weights, self.raw)
        parts = {
            "weights": dict(self.network.state_dict()),
            "moment1": self.optimizer.moment1,
            "moment2": self.optimizer.moment2,
        }
        numbers = {
            "steps": self.steps,
            "seconds": self.seconds,
            "optimizer_steps": self.optimizer.steps,
            "average_steps": self.average.steps,
        }
        save_state(folder, parts, numbers)

    def resume(self, folder: Path) -> None:
        """Take up what ``save`` wrote; without moments the rate rises from zero again."""
        parts, numbers = load_state(folder)
        self.network.load_state_dict(parts["weights"])
        average = parts["average"]  # a file's order is not the network's, and orders must agree
        self.average.weights = {k: average[k].to(self.device) for k in self.network.state_dict()}
        self.average.steps = numbers["average_steps"]
        self.steps, self.seconds = numbers["steps"], numbers["seconds"]
        moments = (self.optimizer.moment1, self.optimizer.moment2)
        names = ("moment1", "moment2")
        found = [parts.get(name, {}) for name in names]
        if all(m.keys() == f.keys() for m, f in zip(moments, found, strict=True)):
            for moment, values in zip(moments, found, strict=True):
                for key, value in values.items():
                    moment[key].copy_(value)
            self.optimizer.steps = numbers["optimizer_steps"]
        else:
            self.rewarm = self.steps
        # Other clips than those of the sittings before.
        self.rng = np.random.default_rng([self.settings.seed, self.steps])
        self.augmenter.reseed(self.steps)
        torch.manual_seed(self.steps)


def draw_budgets(rng: np.random.Generator, frames: int) -> list[int]:
    """Gazes a frame of a batch: many in the first frame, 10 and 20 in the others most often."""
    first = 100 if rng.random() < 0.4 else int(rng.integers(20, 201))
    kind = rng.random()
    if kind < 0.55:
        later = np.full(frames - 1, 10 if kind < 0.3 else 20)
    elif kind < 0.85:
        later = np.full(frames - 1, rng.integers(1, 61))
    else:
        later = rng.integers(1, rng.integers(2, 61), frames - 1)
    return [first, *later.tolist()]


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Products in full float32 precision."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


class Examiner:
    """Measures on the pack's ``val`` and ``clips`` splits; what needs no model is kept."""

    def __init__(self, pack: Path, geometry: Geometry, k: int) -> None:
        device = geometry.pool.device
        self.geometry, self.k, self.names = geometry, k, {}
        self.video: dict[str, Tensor] = {}
        self.known: dict[tuple[str, int], Bounds] = {}
        for split in ("val", "clips"):
            footage = read_pack(pack, split)
            if footage.items:
                self.names[split] = [item.name for item in footage.items]
                self.video[split] = normalise(measured_clips(footage).to(device))

    def table(self, runner: Runner, *, each: bool = False) -> str:
        """A line a set and ``n``; with ``each`` also the gap closed of every clip in ``clips``."""
        lines = []
        with exact():
            for split, video in self.video.items():
                player = Player(self.geometry, len(video), self.k)
                for n in (10, 20):
                    if (split, n) not in self.known:
                        self.known[split, n] = bounds(self.geometry, video, n, self.k)
                    found = measure(player, runner, video, n, self.known[split, n])
                    lines.append(f"{split:5s} n {n}  {found.line()}")
                    if each and split == "clips":
                        named = zip(self.names[split], found.each.tolist(), strict=True)
                        lines += [f"        {gap:6.3f}  {name}" for name, gap in named]
        return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pack", type=Path, required=True, help="written by pack_data")
    parser.add_argument(
        "--state", type=Path, required=True, help="folder to resume from and save to"
    )
    parser.add_argument(
        "--minutes", type=float, required=True, help="of this sitting, start and all"
    )
    parser.add_argument(
        "--total-minutes", type=float, required=True, help="of training in all sittings"
    )
    parser.add_argument("--copy", type=Path, help="folder that gets a copy of the state at the end")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--optimizer", choices=("muon", "adam"), default="muon")
    parser.add_argument("--temperature", type=float, default=LossSettings().temperature)
    parser.add_argument("--regret", type=float, default=0.0)
    parser.add_argument("--play", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--teacher-until", type=float, default=Settings().teacher_until)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=6)
    return parser.parse_args()


def main() -> None:
    """Train for some minutes, save, and print how good the model is."""
    args = arguments()
    started = time.perf_counter()
    device = torch.device(args.device)
    torch.set_float32_matmul_precision("high")
    compiled = device.type == "cuda" and not args.no_compile
    footage = read_pack(args.pack, "train").to(device)
    said = f"{len(footage.items)} items, {len(footage.pixels) / 1e9:.2f} GB"
    print(f"footage: {said}, {time.perf_counter() - started:.0f} s", flush=True)
    sampler = torch.compile(sample, dynamic=False) if compiled else sample
    trainer = Trainer(
        published_config(args.hidden, args.layers, args.heads),
        Augmenter(footage, args.seed, sampler=sampler, part=64 if compiled else 16),
        Settings(
            rate=args.rate,
            play=args.play,
            batch=args.batch,
            frames=args.frames,
            seed=args.seed,
            teacher_until=args.teacher_until,
            loss=LossSettings(temperature=args.temperature, regret=args.regret),
            muon=args.optimizer == "muon",
        ),
        device,
        compiled=compiled,
    )
    if (args.state / STATE).is_file():
        trainer.resume(args.state)
        print(f"resumed at step {trainer.steps}, {trainer.seconds:.0f} s", flush=True)
    train(trainer, args, started)
    trainer.save(args.state)
    if args.copy:
        trainer.save(args.copy)
    if device.type == "cuda":
        print(f"memory: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
    print(f"saved after {time.perf_counter() - started:.0f} s", flush=True)
    examiner = Examiner(args.pack, trainer.geometry, trainer.config.num_multi_token_pred)
    print(examiner.table(trainer.averaged(), each=True))
    print(f"all: {time.perf_counter() - started:.0f} s")


def train(trainer: Trainer, args: argparse.Namespace, started: float) -> None:
    """Rounds until this sitting's minutes are over, with a line of log now and then."""
    now = said = saved = time.perf_counter()
    sums: dict[str, float] = defaultdict(float)
    rounds, at, warm = 0, trainer.steps, 2
    while now - started < args.minutes * 60:
        begun = now
        done = trainer.seconds / (args.total_minutes * 60)
        for name, value in trainer.round(done).items():
            sums[name] += value
        rounds += 1
        now = time.perf_counter()
        if warm:  # what the first rounds spend on compiling counts for nothing
            warm -= 1
        else:
            trainer.seconds += now - begun
        if now - said > 15:
            parts = "  ".join(f"{name} {value / rounds:.4f}" for name, value in sums.items())
            spent = "  ".join(f"{name} {t / rounds:.3f}" for name, t in trainer.times.items())
            print(
                f"{trainer.seconds:5.0f} s  step {trainer.steps}  rate {trainer.rate(done):.5f}  "
                f"{(trainer.steps - at) / (now - said):.2f} steps/s  {parts}  | {spent} s a round",
                flush=True,
            )
            said, at, rounds = now, trainer.steps, 0
            sums.clear()
            trainer.times.clear()
        if now - saved > 120:
            trainer.save(args.state)
            saved = now


if __name__ == "__main__":
    main()
