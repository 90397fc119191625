"""Changes of documents by what they are: JSON, CSV, and arrays in npz and safetensors files."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

from scripts.fuzzing import change_bytes

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

SUMMARY = b'<script type="application/json" id="summary">'

PIECES = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"-", b"9999999999", b"\0", b"\xff", b"e9",
          b"\n", b"#", b"\xef\xbb\xbf", b"PK\x03\x04", b"[[", b"= ", b"'''", b"a.a.a.")  # fmt: skip


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
    return change_bytes(content, chance, PIECES)


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
        text = change_bytes(text, chance, PIECES)
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


def change_page(data: bytes, chance: random.Random) -> bytes:
    """A page whose summary says something else."""
    start, mark, rest = data.rpartition(SUMMARY)
    summary, end, last = rest.partition(b"</script>")
    return start + mark + change_field(summary, chance) + end + last


CHANGES = {
    "json": change_field,
    "npz": change_npz,
    "safetensors": change_safetensors,
    "csv": change_csv,
    "html": change_page,
}


def mutate(name: str, seed: bytes, chance: random.Random) -> bytes:
    """A file changed by what it is, or by its bytes alone."""
    change = CHANGES.get(name.rpartition(".")[2])
    if change is None or chance.randrange(4) == 0:
        return change_bytes(seed, chance, PIECES)
    data = change(seed, chance)
    return change_bytes(data, chance, PIECES) if chance.randrange(10) == 0 else data
