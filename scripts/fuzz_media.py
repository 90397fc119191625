"""Mutate videos, animations and pictures, and read them; count what goes wrong.

    python -m scripts.fuzz_media --seconds 3600

Every execution starts from a small file made here, with bytes flipped, cut, repeated, inserted or
set to extremes. Counted per reader: executions, refusals, errors that are not the program's own,
crashes, executions over 10 s, and over 2 GB. The state of the generator is the number of the
execution, so ``--first N --count 1`` repeats one; ``--keep FOLDER`` keeps the files that did harm.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from autogaze_cli.batch.inputs import open_inputs
from autogaze_cli.errors import AutogazeError
from autogaze_cli.media.sampling import Sampling
from autogaze_cli.media.videos import read_frames
from scripts.fuzzing import Counts, memory_bytes, options_of, print_table

HANG_S = 10.0
MOST_BYTES = 2 << 30
GIVEN_UP_S = 60.0
"""After which an execution is ended, on the clock; other times are those of the processor."""

CHUNK = 500
"""Executions of one process; a new one has no memory of the old."""

CONTAINERS: dict[str, tuple[str, dict[str, str]]] = {
    "mp4": ("mpeg4", {}),
    "h264.mp4": ("libx264", {}),
    "fragmented.mp4": ("mpeg4", {"movflags": "+frag_every_frame+empty_moov"}),
    "mkv": ("mpeg4", {}),
    "webm": ("libvpx-vp9", {}),
    "avi": ("mjpeg", {}),
    "ts": ("mpeg2video", {}),
    "flv": ("flv", {}),
    "y4m": ("wrapped_avframe", {}),
}
PICTURES = ("png", "jpg", "bmp", "tiff", "still.webp", "tga", "ppm")
ANIMATIONS = ("gif", "webp", "apng")
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0",
            b"\xff\xff", b"\0\0", b"\x10\0\0\0", b"\xfe\xff\xff\xff\xff\xff\xff\xff")  # fmt: skip
SAMPLINGS = (
    Sampling(allow_truncated=True),
    Sampling(start=Fraction(1, 5), fps=Fraction(30)),
    Sampling(width=64, frames=4, tone_map="none"),
)

made: dict[str, bytes] = {}
"""Of each reader the file that is mutated."""


def noise() -> list[NDArray[np.uint8]]:
    """Six pictures, uint8 ``[32, 48, 3]``."""
    return list(np.random.default_rng(7).integers(0, 256, (6, 32, 48, 3), np.uint8))


def container(name: str, path: Path) -> None:
    """Write a video."""
    codec, options = CONTAINERS[name]
    with av.open(path, "w", options=options) as output:
        output.metadata["title"] = "Stra\u00dfe"
        stream = output.add_stream(codec, rate=10)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = 32, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in noise():
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            output.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        output.mux(stream.encode(None))


def picture(name: str) -> bytes:
    """An animation, or a still picture with EXIF."""
    images = [Image.fromarray(image) for image in noise()]
    file = io.BytesIO()
    kind = {"jpg": "JPEG", "apng": "PNG"}.get(name, name.split(".")[-1].upper())
    if name in ANIMATIONS:
        images[0].save(file, kind, save_all=True, append_images=images[1:], duration=100)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        images[0].save(file, kind, **({"exif": exif} if name in ("jpg", "png") else {}))
    return file.getvalue()


def seeds() -> dict[str, bytes]:
    """Of each reader a file that it reads."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in CONTAINERS:
            path = Path(folder, f"seed.{name}")
            container(name, path)
            found[name] = path.read_bytes()
    for name in ANIMATIONS + PICTURES:
        found[name] = picture(name)
    found["pattern"] = found["png"]
    found["list"] = b"# videos\na.mp4\n\nfolder/b c.mp4\r\n\xff\xfea.mp4\n"
    return found


def mutate(seed: bytes, chance: random.Random) -> bytes:
    """A few random changes; half of them near the beginning, where headers are."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 5)):
        near = len(data) if chance.random() < 0.5 else min(len(data), 700)
        at = chance.randrange(near + 1)
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 2:
            value = chance.choice(EXTREMES)
            data[at : at + len(value)] = value
        elif kind == 3:
            del data[at : at + chance.choice((1, 4, 30, 1000))]
        elif kind == 4:
            data[at:at] = data[at : at + chance.randint(1, 200)] * chance.randint(1, 20)
        else:
            data[at:at] = bytes(chance.choices(range(256), k=chance.randint(1, 60)))
    return bytes(data)


def read(name: str, data: bytes, folder: Path) -> None:
    """Read a file as the reader does of which it is a mutant."""
    if name == "list":
        (folder / "list.txt").write_bytes(data)
        with open_inputs([f"@{folder / 'list.txt'}"]):
            return
    path = folder / f"a.{'png' if name == 'apng' else name}"
    path.write_bytes(data)
    if name == "pattern":
        path = folder / "a_%d.png"
        for number in range(3):
            (folder / f"a_{number}.png").write_bytes(data if number == 1 else made["png"])
    for _ in read_frames(path, SAMPLINGS[len(data) % len(SAMPLINGS)], threads=2):
        pass


def execute(number: int, scratch: Path) -> tuple[str, str | None]:
    """One execution: the reader, and what came of it, if anything."""
    names = list(made)
    name = names[number % len(names)]
    data = mutate(made[name], random.Random(number))
    folder = scratch / "files"
    folder.mkdir()
    before, begin = memory_bytes(), time.process_time()
    found = None
    try:
        read(name, data, folder)
    except AutogazeError:
        found = "refused"
    except Exception:  # noqa: BLE001 - this is what is counted
        found = "unexpected"
        print(traceback.format_exc(), file=sys.stderr)
    if time.process_time() - begin > HANG_S:  # the machine may be busy
        found = "over 10 s"
    elif memory_bytes() > max(before, MOST_BYTES):
        found = "over 2 GB"
    shutil.rmtree(folder)
    return name, found


def serve(first: int, count: int, pipe: Connection) -> None:
    """Some executions, in a process of their own; each is announced before it begins."""
    logging.disable()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(first, first + count):
            pipe.send(number)
            pipe.send(execute(number, Path(scratch)))


def run(first: int, count: int, end: float, counts: Counts, keep: str) -> int:
    """Executions from ``first`` on in a process, until one ends it; return the next number."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(first, count, far))
    process.start()
    far.close()
    names, number = list(made), first
    while number < first + count and time.monotonic() < end:
        found: str | None = None
        try:
            if near.poll(GIVEN_UP_S):
                near.recv()
                found = near.recv()[1] if near.poll(GIVEN_UP_S) else "over 10 s"
            else:
                found = "over 10 s"
        except EOFError:
            found = "crashed"
        name = names[number % len(names)]
        counts[name, "executions"] += 1
        if found is not None:
            counts[name, found] += 1
        if found not in (None, "refused"):
            print(f"execution {number} ({name}): {found}", file=sys.stderr, flush=True)
            if keep:
                data = mutate(made[name], random.Random(number))
                Path(keep, f"{number}.{name}").write_bytes(data)
        number += 1
        if not process.is_alive() and not near.poll(0):
            break
        if found == "over 10 s" and not near.poll(1):
            break
    process.kill()
    process.join()
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table, and return 1 if anything went wrong."""
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--keep", default="", help="a folder for files that did harm")
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    made.update(seeds())
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    counts, number = Counts(), options.first
    end = time.monotonic() + options.seconds
    last = sys.maxsize if options.count is None else options.first + options.count
    while number < last and time.monotonic() < end:
        number = run(number, min(CHUNK, last - number), end, counts, options.keep)
    return print_table(made, counts, ("unexpected", "crashed", "over 10 s", "over 2 GB"))


if __name__ == "__main__":
    sys.exit(main())
