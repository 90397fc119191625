"""Run for long, and fit how memory, open files, threads and speed change: they should not.

Two parts: one 1080p video of ``--video-minutes``, and ``--clips`` short clips with two workers and
without a model, whose time would hide that of the rest. The command runs as a user runs it; once a
second its processes are measured together. The first fifth of a part is left out, while caches
fill. Prints a table; exit code 1 if a part is not flat.

Usage: python -m scripts.soak [--video-minutes 60] [--clips 10000] [--limit SECONDS] [-- OPTION ...]

Options after ``--`` go to the first part's ``autogaze trace``: ``--mask-source patch-diff``, say.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from threading import Thread

import av
import numpy as np

ROOT = Path(__file__).parents[1]
DOG = ROOT / "fixtures/dog.mp4"
PART_SECONDS = 10
_NO_MODEL = ("--mask-source", "patch-diff")
WARM = 0.2
"""The part of a run that is left out."""

MEASURED = ("MiB", "files", "threads")
MOST_GROWTH = 0.03
"""Growth of memory over the measured part, relative to the mean, that counts as flat."""

MOST_EACH = 0.001
"""Files and threads that may be left behind by each frame or clip: samples of them vary."""

KEPT_KIB = 2.5
"""What a batch keeps of each input until it ends: the result, which its report has."""

LEAST_SPEED = 0.8
"""Speed at the end, relative to the mean; other processes of the machine vary it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All processes of a command at one moment.

    Attributes:
        seconds: Since it was started.
        done: Frames or clips done.
        mib: Resident memory, without what processes share with files.
        files: Open files.
        threads: Threads.
    """

    seconds: float
    done: float
    mib: float
    files: float
    threads: float


def long_video(path: Path, minutes: float) -> None:
    """A 1080p video of that length: ten seconds of a dog, its packets repeated."""
    part = path.with_name("part.mp4")
    encode(part, 1920, 1080, 30 * PART_SECONDS)
    with av.open(part) as source, av.open(path, "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in source.demux(stream) if p.size]
        ticks = round(PART_SECONDS / Fraction(stream.time_base or 1))
        for number in range(max(1, round(minutes * 60 / PART_SECONDS))):
            for data, pts, dts, key in packets:
                assert pts is not None
                assert dts is not None
                packet = av.Packet(data)
                packet.stream, packet.time_base = copy, Fraction(stream.time_base or 1)
                packet.pts, packet.dts = pts + number * ticks, dts + number * ticks
                packet.is_keyframe = key
                target.mux(packet)
    part.unlink()


def short_clips(folder: Path, count: int) -> None:
    """That many names of eight clips of different sizes, eight frames each."""
    folder.mkdir()
    clips = [folder / f"clip_{n:05d}.mp4" for n in range(min(8, count))]
    for n, clip in enumerate(clips):
        encode(clip, 160 + 32 * n, 90 + 18 * n, 8)
    for n in range(len(clips), count):
        os.link(clips[n % len(clips)], folder / f"clip_{n:05d}.mp4")


def encode(path: Path, width: int, height: int, frames: int) -> None:
    """An MP4 of the dog, at 30 frames per second."""
    with av.open(path, "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
        for number, frame in zip(range(frames), itertools.cycle(dog_frames()), strict=False):
            sized = frame.reformat(stream.width, stream.height, "yuv420p")
            sized.pts, sized.time_base = number, Fraction(1, 30)
            target.mux(stream.encode(sized))
        target.mux(stream.encode(None))


def dog_frames() -> list[av.VideoFrame]:
    """The frames of the sample clip."""
    with av.open(DOG) as source:
        return list(source.decode(video=0))


def watched(arguments: Sequence[str], limit: float) -> list[Sample]:
    """Run a command to its end, or for ``limit`` seconds, and measure it once a second.

    Progress is the number of events or of per-frame messages that it prints.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "autogaze_cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    )
    done, last = 0, ""

    def count() -> None:
        nonlocal done, last
        assert process.stdout is not None
        for line in process.stdout:
            done += line.startswith("frame ") or '"event": "finished"' in line
            last = line if not line.startswith("{") else last

    reader = Thread(target=count)
    reader.start()
    samples, start = [], time.monotonic()
    while process.poll() is None:
        time.sleep(1)
        seconds = time.monotonic() - start
        pids = [process.pid, *children(process.pid)]
        samples.append(Sample(seconds, done, *map(sum, zip(*map(measured, pids), strict=True))))
        if seconds > limit:
            process.send_signal(signal.SIGTERM)
            break
    reader.join()
    if process.wait() not in (0, 128 + signal.SIGTERM):
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}: {last}")
    return [sample for sample in samples if sample.mib]


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    with suppress(OSError):
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return []


def measured(pid: int) -> tuple[float, float, float]:
    """Memory in MiB, open files and threads of a process; zeros once it has ended."""
    with suppress(OSError, KeyError):  # one that has ended has no memory
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        kib = float(status["RssAnon"].split()[0])
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return kib / 1024, float(files), float(status["Threads"])
    return 0.0, 0.0, 0.0


def table(name: str, samples: Sequence[Sample], kept_kib: float = 0) -> tuple[list[str], bool]:
    """The lines that describe a part, and whether it was flat.

    Args:
        name: The part's.
        samples: Its measurements.
        kept_kib: Memory that may be kept of what is done.
    """
    start, end = samples[0].seconds, samples[-1].seconds
    warm = [s for s in samples if s.seconds > start + WARM * (end - start)]
    seconds, done, *values = np.array([astuple(sample) for sample in warm]).T
    rows, flat = [], True
    count = float(done[-1] - done[0])
    for label, value in zip(MEASURED, values, strict=True):
        slope = float(np.polyfit(seconds, value, 1)[0])
        growth = slope * float(seconds[-1] - seconds[0])
        most = MOST_EACH * count
        if label == "MiB":
            most = MOST_GROWTH * float(value.mean()) + kept_kib / 1024 * count
        flat &= growth <= most or slope * 3600 < 1
        rows.append(f"| {name} | {label} | {value.mean():.1f} | {slope * 3600:+.2f} |")
    middle = len(done) // 2
    rates = [
        (part[-1] - part[0]) / (when[-1] - when[0])
        for part, when in ((done[:middle], seconds[:middle]), (done[middle:], seconds[middle:]))
    ]
    mean = count / (seconds[-1] - seconds[0])
    flat &= bool(rates[1] >= LEAST_SPEED * mean)
    change = (rates[1] - rates[0]) / (seconds[-1] - seconds[0]) * 2 * 3600
    rows.append(f"| {name} | done per second | {mean:.2f} | {change:+.2f} |")
    return rows, flat


def parts(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each part's name and command."""
    if args.video_minutes:
        long_video(folder / "long.mp4", args.video_minutes)
        yield (
            f"{args.video_minutes:g} min of 1080p",
            [
                *("trace", str(folder / "long.mp4"), "-v"),
                *args.options,
            ],
        )
    if args.clips:
        short_clips(folder / "clips", args.clips)
        yield (
            f"{args.clips} clips",
            ["trace", str(folder / "clips"), "--jsonl", "-q", "--workers", "2", *_NO_MODEL],
        )


def main() -> int:
    """Run both parts; return 1 if one was not flat."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--video-minutes", type=float, default=60)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds per part")
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    print("| part | measured | mean | change per hour |\n| --- | --- | --- | --- |")
    all_flat = True
    with tempfile.TemporaryDirectory() as temporary:
        for name, command in parts(args, Path(temporary)):
            command += ["-o", str(Path(temporary, "out")), "--overwrite"]
            samples = watched(command, args.limit)
            rows, flat = table(name, samples, KEPT_KIB * name.endswith("clips"))
            all_flat &= flat
            last = samples[-1]
            print("\n".join(rows))
            print(
                f"| {name} | {'flat' if flat else 'not flat'} | {last.done:.0f} done |"
                f" {last.seconds:.0f} s |",
                flush=True,
            )
    return 0 if all_flat else 1


if __name__ == "__main__":
    sys.exit(main())
