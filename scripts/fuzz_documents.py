"""Change fields of documents and bytes of their files, and read them; count what goes wrong.

    python -m scripts.fuzz_documents --seconds 600

Every execution starts from a valid file: one field of its JSON gets a value that it should not
have, is removed, or is written twice, or bytes are flipped, cut, repeated or inserted. Counted per
reader: executions, refusals, errors that are not the program's own or no line, crashes, executions
over 10 s, and over 1 GB.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

import torch

from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.manifest import Manifest
from autogaze_cli.bench import report as bench
from autogaze_cli.cli.config import commands, default_maps
from autogaze_cli.cli.main import cli
from autogaze_cli.compare import check as compare
from autogaze_cli.encoders.checkpoint import read_encoder
from autogaze_cli.errors import AutogazeError
from autogaze_cli.jobs.draw import differing_keys
from autogaze_cli.jobs.frames import OnFrame, sampling_of
from autogaze_cli.jobs.pages import write_pages
from autogaze_cli.model.catalog import bundled, default_model
from autogaze_cli.model.checkpoint import read_network
from autogaze_cli.readout import ReadoutSettings, read_readout, readout_trace
from autogaze_cli.readout.document import EMITS
from autogaze_cli.trace import read_trace
from autogaze_cli.upstream.config import AutoGazeConfig
from autogaze_cli.upstream.siglip import SiglipVisionModel
from scripts.fuzz_changes import mutate
from scripts.fuzzing import fuzz, options_of, outcome

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "fixtures" / "parity-tiny"
ENCODER = ROOT / "fixtures" / "encoders" / "siglip-tiny-p16"
"""Folders of small models with random weights."""

MANIFEST = b"""\
{"event": "run", "run": "0123abcd", "command": "trace", "settings": {"fps": 8}, "version": "1"}
{"event": "started", "run": "0123abcd", "command": "trace", "input": "a.mp4", "stem": "a", \
"outputs": ["a.trace.json"]}
{"event": "finished", "run": "0123abcd", "command": "trace", "input": "a.mp4", "stem": "a", \
"bytes": 3, "outputs": [{"path": "a.trace.json", "bytes": 3, "sha256": "00"}]}
"""
TOML = b"""\
fps = 8
mask-source = "patch-diff"
[trace]
frames = 16
quiet = true
[render-assets]
width = 224
"""
COMPARISON: dict[str, Any] = {
    "format": "autogaze-compare", "version": 1, "models": {"kestrel": "00"},
    "settings": {"sources": ["uniform", "patch-diff"], "tokens": [10]},
    "clips": [{"input": "a.mp4", "rows": [
        {"source": "uniform", "setting": "tokens", "tokens": 10, "first_frame_free": False,
         "figures": {"psnr_db": 20.5, "loss": 0.3, "choose_ms": 0.1}},
        {"source": "patch-diff", "setting": "default", "tokens": None, "first_frame_free": True,
         "figures": {"psnr_db": 21.5, "loss": 0.2}}]}],
    "failures": [{"input": "b.mp4", "error": "b.mp4: is empty", "hint": None}],
}  # fmt: skip
BENCH: dict[str, Any] = {
    "format": bench.FORMAT, "version": bench.VERSION,
    "settings": {"frames": 4, "gazing_ratio": 0.75, "model": None, "clip": None, "quick": True},
    "figures": [{"name": "cpu/decode", "frames": 16, "seconds": 0.5},
                {"name": "cpu/draw", "frames": 4, "seconds": 0.1}],
}  # fmt: skip
PROCESSOR = {"rescale_factor": 1 / 255, "resample": 3, "image_mean": [0.5] * 3,
             "image_std": [0.5] * 3}  # fmt: skip

CLIP = "synthetic:pan,size=32x32,frames=2,fps=8"

Reader = Callable[[Path], object]
Table = dict[str, tuple[str, dict[str, bytes], Reader]]
"""By reader: the file that is changed, all files of its folder, and itself."""


def use_trace(path: Path) -> None:
    """Read a trace, and what may be made of it without its video."""
    trace = read_trace(path)
    sampling_of(trace.header, "x")
    for i in range(min(len(trace), 2)):
        trace.frame(i)
    for emit in EMITS:
        with suppress(AutogazeError):  # as for a trace without ids
            readout_trace(trace, ReadoutSettings(clip_height=224, clip_width=224, emit=(emit,)))


def read_models(path: Path) -> None:
    """Read the record of bundled models."""
    default_model(path.parent)
    bundled(path.parent)


def read_manifest(path: Path) -> None:
    """Read the manifest of an output folder, as ``--resume`` does."""
    Path(path.parent, "a.mp4").write_bytes(b"abc")
    item = Input(name="a.mp4", path=str(path.parent / "a.mp4"), stem=PurePath("a"))
    with Manifest(path.parent, "trace", {"fps": 8}, None) as manifest:
        manifest.finished(item, [path.parent / "a.trace.json"])
        manifest.foreign(item, [path.parent / "a.trace.json"])
        manifest.clean([path.parent])


def read_toml(path: Path) -> None:
    """Read a file of options, and the audit's."""
    default_maps(path, dict(commands(cli)))
    AuditSettings().with_config(path.parent, {})


def read_published(path: Path) -> None:
    """Read a SigLIP as the published package's interface does."""
    AutoGazeConfig.from_pretrained(path.parent)
    SiglipVisionModel.from_pretrained(path.parent)


def compare_with(path: Path) -> None:
    """Hold a comparison against an earlier one."""
    list(compare.differences(COMPARISON, compare.read_comparison(path)))


def bench_against(path: Path) -> None:
    """Hold measured times against earlier ones."""
    bench.slower(BENCH, bench.read_document(str(path)), 0.2)


def report(path: Path) -> None:
    """Write the pages and the index of a folder of results."""

    @contextmanager
    def on_page(_: Path) -> Iterator[OnFrame]:
        yield lambda *_: None

    pages = write_pages(path.parent, on_page, overwrite=path.suffix == ".json")
    for message in pages.failed.values():
        raise AutogazeError(message)


def check_metrics(path: Path) -> None:
    """Compare metrics of a file with those of a render, as ``--check`` does."""
    differing_keys(path, {"frames": 2})


def results() -> dict[str, bytes]:
    """The files of a small folder of results."""
    with tempfile.TemporaryDirectory() as folder:
        command = f"render-assets {CLIP} --mask-source patch-diff --tile-size 32 --width 32"
        more = ["--height", "32", "--frames", "2", "--report", "-q", "--out-dir", folder]
        cli.main([*command.split(), *more], standalone_mode=False)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return files | {"autogaze-manifest.jsonl": MANIFEST}


def readers() -> Table:
    """The readers, by name."""
    found: Table = {}
    model = {path.name: path.read_bytes() for path in MODEL.iterdir()}
    encoder = {path.name: path.read_bytes() for path in ENCODER.iterdir()}
    encoder["preprocessor_config.json"] = json.dumps(PROCESSOR).encode()
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        found[name] = (name, model, lambda path: read_network(path.parent))
        found[f"encoder's {name}"] = (name, encoder, lambda path: read_encoder(path.parent))
        if not name.startswith("pre"):
            found[f"published {name}"] = (name, encoder, read_published)
    for form in ("json", "npz", "safetensors", "csv"):
        trace = (ROOT / f"fixtures/traces/v1.trace.{form}").read_bytes()
        found[f"trace, {form}"] = (f"x.{form}", {f"x.{form}": trace}, use_trace)
        readout = (ROOT / f"tests/golden/v1.readout.{form}").read_bytes()
        found[f"readout, {form}"] = (f"x.{form}", {f"x.{form}": readout}, read_readout)
    alone = {
        "models.json": ((ROOT / "autogaze_cli/models/models.json").read_bytes(), read_models),
        "autogaze-manifest.jsonl": (MANIFEST, read_manifest),
        "autogaze.toml": (TOML, read_toml),
        "compare.json": (json.dumps(COMPARISON).encode(), compare_with),
        "bench.json": (json.dumps(BENCH).encode(), bench_against),
        "metrics.json": (b'{"frames": 1, "fps": 8.0, "mean": {"a": [1, 2]}}', check_metrics),
    }
    for name, (content, read) in alone.items():
        found[name] = (name, {name: content}, read)
    files = results()
    for what in ("metrics.json", "report.html", "manifest.jsonl"):
        (name,) = (name for name in files if name.endswith(what))
        found[f"report of {what}"] = (name, files, report)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table, and return 1 if anything went wrong."""
    options = options_of(str(__doc__).splitlines()[0]).parse_args(arguments)
    torch.set_num_threads(1)  # a process that has more of them cannot be forked
    table = readers()
    with tempfile.TemporaryDirectory() as scratch:
        for number, (file, files, read) in enumerate(table.values()):  # valid, and all is imported
            read(written(Path(scratch, str(number)), files) / file)
    names = list(table)

    def execute(number: int, folder: Path) -> str | None:
        file, files, read = table[names[number % len(names)]]
        changed = mutate(file, files[file], random.Random(number))
        path = written(folder / "files", files | {file: changed}) / file
        return outcome(lambda: read(path))

    return fuzz(names, execute, options)


def written(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


if __name__ == "__main__":
    sys.exit(main())
