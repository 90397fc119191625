"""Change fields of documents and bytes of their files, and read them; count what goes wrong.

    python -m scripts.fuzz_documents --seconds 600

Every execution starts from a valid file: one field of its JSON gets a value that it should not
have, is removed, or is written twice, or bytes are flipped, cut, repeated or inserted. Counted per
reader: executions, errors that are not the program's own, executions over 10 s, and over 1 GB. The
state of the generator is the number of the execution, so ``--first N --count 1`` repeats one.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.batch.inputs import Input
from autogaze_cli.batch.manifest import Manifest
from autogaze_cli.cli.config import commands, default_maps
from autogaze_cli.cli.main import cli
from autogaze_cli.errors import AutogazeError
from autogaze_cli.jobs.frames import sampling_of
from autogaze_cli.model.catalog import bundled, default_model
from autogaze_cli.model.checkpoint import read_network
from autogaze_cli.readout import ReadoutSettings, read_readout, readout_trace
from autogaze_cli.readout.document import EMITS
from autogaze_cli.trace import read_trace
from scripts.fuzzing import Counts, memory_bytes, options_of, print_table

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "fixtures" / "parity-tiny"
"""A model's folder: small, with random weights."""

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

INSERTED: list[Any] = [
    None, True, False, "", "x", "1/0", "1e99999999", "-1/3", "nan", "9" * 5000, "1" * 300,
    "32+" * 100_000 + "1", "\ud800", "\x00", "a\nb", "../../etc/passwd", "silu", "224",
    0, -1, 1, 2, 10**6, 10**9, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400,
    10**4000, 0.5, -0.0, 1e-320, 1e300, [], {}, [[]], [0] * 1000, [None], {"a": 1}, [1e9, 1e9],
    [224, 224],
]  # fmt: skip
"""Values for a field."""

RAW = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"[" * 100_000, b"9" * 5000, b'{"a":' * 50_000,
       b'"\\ud800"', b"tru", b"01", b"1.", b"[" + b"0," * 100_000 + b"0]", b"\xff")  # fmt: skip
"""What stands in a file in place of a value, most of it no JSON."""

CELLS = (b"", b"-1", b"1e999", b"nan", b"9" * 5000, b"1_0", b" 1", b"0x1", b"1/0", b"9" * 19,
         b"2147483648", b"1.5", b"," * 100_000, b"\xd9\xa3")  # fmt: skip
"""What stands in a cell of a CSV file."""

PIECES = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"-", b"9999999999", b"\0", b"\xff", b"e9",
          b"\n", b"#", b"\xef\xbb\xbf", b"PK\x03\x04", b"[[", b"= ", b"'''", b"a.a.a.")  # fmt: skip

Reader = Callable[[Path], object]
Table = dict[str, tuple[str, dict[str, bytes], Reader]]
"""By reader: the file that is changed, all files of its folder, and itself."""

HANG_S = 10.0
MOST_BYTES = 1 << 30


def change_field(text: bytes, chance: random.Random) -> bytes:
    """A JSON text with a field of another value, without it, or with it twice."""
    document = json.loads(text)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = list(value) if isinstance(value, dict) else range(min(len(value), 3))
        for key in keys:
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(document)
    if not places:
        return text
    holder, key = chance.choice(places)
    kind = chance.randrange(10)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[chance.choice(("colour", "", "a`b", "x" * 100_000))] = 1
    elif kind == 2:
        mark = "here the value goes"
        holder[key] = mark
        return json.dumps(document).encode().replace(f'"{mark}"'.encode(), chance.choice(RAW), 1)
    elif kind == 3 and isinstance(holder, dict):
        whole, name = json.dumps(document), json.dumps(key)
        return whole.replace(f"{name}:", f"{name}: 1, {name}:", 1).encode()
    else:
        holder[key] = chance.choice(INSERTED)
    return json.dumps(document).encode()


def change_bytes(seed: bytes, chance: random.Random) -> bytes:
    """A few random changes of bytes."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del data[at : at + chance.randint(1, 100)]
        elif kind == 3:
            data[at:at] = chance.choice(PIECES) * chance.choice((1, 1, 10, 5000))
        elif kind == 4:
            data[at:at] = data[at : at + chance.randint(1, 400)] * chance.randint(1, 20)
        else:
            data[at:at] = bytes(chance.choices(range(256), k=chance.randint(1, 30)))
    return bytes(data)


def change_npz(data: bytes, chance: random.Random) -> bytes:
    """An npz file one of whose members is changed, or compressed, or written twice."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(changed, "w") as new:
        chosen = chance.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            if name == chosen:
                content = change_member(name, content, chance)
                if chance.randrange(10) == 0:
                    continue
            how = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            new.writestr(name, content, how)
    return changed.getvalue()


def change_member(name: str, content: bytes, chance: random.Random) -> bytes:
    """An array whose header says something else, or whose bytes are others."""
    if name == "header.npy" and chance.randrange(2):
        width = content[8] + 256 * content[9] + 10
        text = content[width:].decode("utf-32-le").encode("utf-8", "surrogatepass")
        text = change_field(text, chance)
        words = text.decode("utf-8", "replace")
        head = f"{{'descr': '<U{len(words)}', 'fortran_order': False, 'shape': (), }}".encode()
        head += b" " * (-(len(head) + 11) % 64) + b"\n"
        start = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little")
        return start + head + words.encode("utf-32-le")
    shapes = (
        b"()",
        b"(0,)",
        b"(1000000000,)",
        b"(-1,)",
        b"(2, 2)",
        b"x",
        b"(9" + b"9" * 30 + b",)",
    )
    old, new = chance.choice(
        ((b"(", b"((" * 100), (b"<", b">"), (b"<f4", b"|O8"), (b"<i8", b"<f8"), (b"False", b"True"),
         (b"{", b"__import__('os'){"), (b"descr", b"shape"))
    )  # fmt: skip
    end = content.find(b")") + 1
    if chance.randrange(2):
        return content[: content.find(b"(")] + chance.choice(shapes) + content[end:]
    if chance.randrange(2):
        return content.replace(old, new, 1)
    return change_bytes(content, chance)


def change_safetensors(data: bytes, chance: random.Random) -> bytes:
    """A safetensors file whose header declares something else."""
    size = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + size]
    if chance.randrange(2):
        entries = json.loads(text)
        inner = entries.get("__metadata__", {})
        if "header" in inner and chance.randrange(2):
            changed = change_field(inner["header"].encode(), chance)
            inner["header"] = changed.decode("utf-8", "replace")
            text = json.dumps(entries).encode()
        else:
            text = change_field(text, chance)
    else:
        text = change_bytes(text, chance)
    more = b"" if chance.randrange(4) else b"\0" * 8
    return len(text).to_bytes(8, "little") + text + data[8 + size :] + more


def change_csv(data: bytes, chance: random.Random) -> bytes:
    """A CSV file with another header, or another cell."""
    lines = data.split(b"\n")
    if chance.randrange(3) == 0:
        lines[0] = b"# " + change_field(lines[0][2:], chance)
        return b"\n".join(lines)
    at = chance.randrange(1, len(lines))
    cells = lines[at].split(b",")
    value = chance.choice(CELLS)
    cells[chance.randrange(len(cells))] = value
    lines[at] = b",".join(cells)
    return b"\n".join(lines)


CHANGES = {
    "json": change_field,
    "npz": change_npz,
    "safetensors": change_safetensors,
    "csv": change_csv,
}


def mutate(name: str, seed: bytes, chance: random.Random) -> bytes:
    """A file changed by what it is, or by its bytes alone."""
    change = CHANGES.get(name.rpartition(".")[2])
    if change is None or chance.randrange(4) == 0:
        return change_bytes(seed, chance)
    data = change(seed, chance)
    return change_bytes(data, chance) if chance.randrange(10) == 0 else data


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


def readers() -> Table:
    """The readers, by name."""
    found: Table = {}
    model = {path.name: path.read_bytes() for path in MODEL.iterdir()}
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        found[name] = (name, model, lambda path: read_network(path.parent))
    for form in ("json", "npz", "safetensors", "csv"):
        trace = (ROOT / f"fixtures/traces/v1.trace.{form}").read_bytes()
        found[f"trace, {form}"] = (f"x.{form}", {f"x.{form}": trace}, use_trace)
        readout = (ROOT / f"tests/golden/v1.readout.{form}").read_bytes()
        found[f"readout, {form}"] = (f"x.{form}", {f"x.{form}": readout}, read_readout)
    record = (ROOT / "autogaze_cli/models/models.json").read_bytes()
    found["models.json"] = ("models.json", {"models.json": record}, read_models)
    name = "autogaze-manifest.jsonl"
    found["manifest"] = (name, {name: MANIFEST}, read_manifest)
    found["autogaze.toml"] = ("autogaze.toml", {"autogaze.toml": TOML}, read_toml)
    return found


def execute(number: int, table: Table, scratch: Path, counts: Counts) -> None:
    """One execution, and what came of it."""
    name = list(table)[number % len(table)]
    file, files, read = table[name]
    chance = random.Random(number)
    changed = files | {file: mutate(file, files[file], chance)}
    with opened(scratch, changed) as folder:
        wrong = outcome(name, folder / file, read, counts)
    if wrong is not None:
        counts[name, wrong] += 1
        print(f"execution {number} ({name}): {wrong}", file=sys.stderr)
    counts[name, "executions"] += 1


@contextmanager
def opened(scratch: Path, files: dict[str, bytes]) -> Iterator[Path]:
    """A folder with these files, for as long as it is used."""
    folder = scratch / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    yield folder
    shutil.rmtree(folder)


def outcome(name: str, path: Path, read: Reader, counts: Counts) -> str | None:
    """What is wrong with reading a file; None if nothing is."""
    before, begin = memory_bytes(), time.monotonic()
    wrong = None
    try:
        read(path)
    except AutogazeError as error:
        counts[name, "refused"] += 1
        if len(error.line()) > 2000 or "\n" in error.line():
            wrong = "unexpected"
            print(f"a message of {len(error.line())} characters", file=sys.stderr)
    except Exception:  # noqa: BLE001 - this is what is counted
        wrong = "unexpected"
        print(traceback.format_exc(), file=sys.stderr)
    if time.monotonic() - begin > HANG_S:
        wrong = "over 10 s"
    elif memory_bytes() > max(before, MOST_BYTES):
        wrong = "over 1 GB"
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table, and return 1 if anything went wrong."""
    parser = options_of(__doc__.splitlines()[0])
    options = parser.parse_args(arguments)
    table, counts = readers(), Counts()
    with tempfile.TemporaryDirectory() as scratch:
        for file, files, read in table.values():  # valid, and all that is imported is imported
            with opened(Path(scratch), files) as folder:
                read(folder / file)
        end, number = time.monotonic() + options.seconds, options.first
        while time.monotonic() < end and number - options.first != options.count:
            execute(number, table, Path(scratch), counts)
            number += 1
    return print_table(table, counts, ("unexpected", "over 10 s", "over 1 GB"))


if __name__ == "__main__":
    sys.exit(main())
