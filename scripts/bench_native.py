"""Time the model's layers with each instruction set, and with PyTorch alone, in one sitting.

    python -m scripts.bench_native [--rounds N] [--threads N] [--busy] [SET ...]

Prints the best time in seconds of each row of ``docs/performance.md``: a checkpoint of the
published size with random weights, 16 frames of 224x224, ratio 0.75, from preprocessed input to
tokens. A SET is a value of ``AUTOGAZE_NATIVE``; ``0`` is PyTorch alone, and ``0/avx2`` is PyTorch
held to AVX2. Every round runs all sets, so that what else the machine does falls on all of them;
where it does much else, ``--busy`` counts the processor time of one thread instead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import torch

from autogaze_cli.bench.synthetic import seeded_frames, seeded_model
from autogaze_cli.model.preprocess import square

ROWS = [(batch, loss) for batch in (1, 8) for loss in (None, 0.7)]


def times(threads: int, busy: bool) -> list[float]:
    """Seconds of each row, in this process."""
    clock = time.process_time if busy else time.perf_counter
    torch.set_num_threads(threads)
    model = seeded_model()
    frames = torch.stack([torch.from_numpy(f.rgb) for f in seeded_frames(16, 224, 224)])
    clip = square(model.preprocess(frames.numpy()), model.config.input_img_size)
    found = []
    for batch, loss in ROWS:
        video = torch.cat([clip.roll(n, dims=1) for n in range(batch)])
        model.generate(video[:, :2], gazing_ratio=0.75, task_loss_requirement=loss)
        begin = clock()
        model.generate(video, gazing_ratio=0.75, task_loss_requirement=loss)
        found.append(clock() - begin)
    return found


def child(name: str, threads: int, busy: bool) -> list[float]:
    """Seconds of each row with one instruction set, in a process of its own."""
    native, _, held = name.partition("/")
    environment = {**os.environ, "AUTOGAZE_NATIVE": native}
    if held:
        environment["ATEN_CPU_CAPABILITY"] = held
    command = [sys.executable, "-m", "scripts.bench_native", "--child", "--threads", str(threads)]
    command += ["--busy"] if busy else []
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found: list[float] = json.loads(run.stdout)
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["0", "0/avx2", "plain", "avx2", "avx512"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--busy", action="store_true")
    given = parser.parse_args()
    given.threads = 1 if given.busy else given.threads
    if given.child:
        print(json.dumps(times(given.threads, given.busy)))
        return
    best = {name: [float("inf")] * len(ROWS) for name in given.sets}
    for _ in range(given.rounds):
        for name in given.sets:
            found = child(name, given.threads, given.busy)
            best[name] = [min(pair) for pair in zip(best[name], found, strict=True)]
            print(name, [round(s, 3) for s in found], file=sys.stderr)
    print("| batch | task loss |", " | ".join(given.sets), "|")
    print("| --- " * (2 + len(given.sets)) + "|")
    for row, (batch, loss) in enumerate(ROWS):
        shown = [f"{best[name][row]:.2f}" for name in given.sets]
        print(f"| {batch} | {'off' if loss is None else loss} |", " | ".join(shown), "|")


if __name__ == "__main__":
    main()
