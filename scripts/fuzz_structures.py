"""Change files by their structure: parts that hold parts, each with its size and checksum.

A part is put elsewhere, left out, written twice, or says something else, and the file is written
again with sizes and checksums that are right, so that a reader gets as far as the change. Now and
then one size is wrong. The formats: PNG (and APNG), RIFF (AVI, WebP), ISO base media (MP4), EBML
(MKV, WebM) and GIF.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from scripts.fuzzing import change_bytes

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\1\0\0\0",
            b"\x80\0\0\0", b"\0\0\0\x80", b"\xff\xff", b"\0\0", b"\x10\0\0\0", b"\0\0\1\0", b"\xff",
            b"\0", b"\xfe\xff\xff\xff\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\xff\xff", b"\0\0\xff\xff\0\0\xff\xff")  # fmt: skip
"""Numbers in a header, in either order of bytes."""


_MOST_BYTES = 1 << 24
"""Of all parts: those that are repeated again and again would be gigabytes."""


@dataclass(slots=True)
class Part:
    """A part of a file: what it is called, what it holds, and parts within it after that."""

    kind: bytes
    body: bytes = b""
    parts: list[Part] = field(default_factory=list)
    lie: int = 0
    """How much too large its size is written."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a file of some format is taken apart and written."""

    read: Callable[[bytes], list[Part]]
    write: Callable[[bytes, bytes, int], bytes]
    """A part from its kind, its content, and its size."""

    def content(self, parts: Sequence[Part]) -> bytes:
        """The bytes of parts."""
        found = []
        for part in parts:
            body = part.body + self.content(part.parts)
            found.append(self.write(part.kind, body, max(0, len(body) + part.lie)))
        return b"".join(found)


def change_structure(form: Format, data: bytes, chance: random.Random) -> bytes:
    """A file with a few changed parts."""
    parts = form.read(data)
    for _ in range(chance.randint(1, 3)):
        lists = [parts, *(part.parts for part in all_parts(parts) if part.parts)]
        siblings = chance.choice(lists)
        if not siblings:
            break
        at = chance.randrange(len(siblings))
        kind = chance.randrange(10)
        if kind < 5:
            part = chance.choice(list(all_parts(parts)))
            part.body = change_number(part.body, chance)
        elif kind == 5:
            del siblings[at]
        elif kind == 6:
            times = chance.choice((1, 1, 1, 10, 1000))
            siblings[at:at] = [siblings[at]] * times
            if sum(len(part.body) for part in all_parts(parts)) > _MOST_BYTES:
                del siblings[at : at + times]
        elif kind == 7:
            chance.choice(lists).append(siblings[at]) if not siblings[at].parts else None
        elif kind == 8:
            siblings[at].kind = chance.choice(list(all_parts(parts))).kind
        else:
            siblings[at].lie = chance.choice((-4, -1, 1, 4, 1000, 1 << 20, 1 << 31))
    return form.content(parts)


def all_parts(parts: Sequence[Part]) -> Iterator[Part]:
    """Parts, and those within them."""
    for part in parts:
        yield part
        yield from all_parts(part.parts)


def change_number(body: bytes, chance: random.Random) -> bytes:
    """A body with another number in it, shorter, longer, or changed anywhere."""
    kind = chance.randrange(8)
    if kind == 0:
        return body[: chance.randrange(len(body) + 1)]
    if kind == 1:
        return body + bytes(chance.choice((1, 4, 1000)))
    if kind == 2:
        return change_bytes(body, chance, EXTREMES)
    value = chance.choice(EXTREMES)
    at = chance.randrange(min(len(body), 64) + 1) // 2 * 2
    return body[:at] + value + body[at + len(value) :]


def _png_parts(data: bytes) -> list[Part]:
    parts, at = [Part(b"", data[:8])], 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        parts.append(Part(data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return parts


def _png(kind: bytes, body: bytes, size: int) -> bytes:
    if not kind:
        return body
    return size.to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def _riff_parts(data: bytes) -> list[Part]:
    parts, at = [], 0
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        head = {b"RIFF": 4, b"LIST": 4, b"ANMF": 16}.get(kind)
        within = _riff_parts(body[head:]) if head and body[:4] != b"movi" else []
        parts.append(Part(kind, body[:head] if within else body, within))
        at += 8 + size + size % 2
    return parts


def _riff(kind: bytes, body: bytes, size: int) -> bytes:
    return kind + size.to_bytes(4, "little") + body + bytes(len(body) % 2)


_BOXES = {
    **dict.fromkeys(b"moov trak mdia minf stbl edts moof traf mvex udta dinf".split(), 0),
    **{b"meta": 4, b"stsd": 8, b"dref": 8},
    **dict.fromkeys((b"mp4v", b"avc1", b"hvc1", b"hev1", b"av01"), 78),
}
"""Boxes that hold boxes, and how many bytes come before these."""


def _box_parts(data: bytes) -> list[Part]:
    parts, at = [], 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        size = size if size >= 8 else len(data) - at
        body, head = data[at + 8 : at + size], _BOXES.get(kind)
        parts.append(
            Part(kind, body) if head is None else Part(kind, body[:head], _box_parts(body[head:]))
        )
        at += size
    return parts


def _box(kind: bytes, body: bytes, size: int) -> bytes:
    return (size + 8).to_bytes(4) + kind + body


_MASTERS = {
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x4d\xbb"),
    *(b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\xae", b"\xe0", b"\xe1", b"\x55\xb0"),
    *(b"\x1f\x43\xb6\x75", b"\xa0", b"\x1c\x53\xbb\x6b", b"\xbb", b"\xb7"),
    *(b"\x12\x54\xc3\x67", b"\x73\x73", b"\x63\xc0", b"\x67\xc8"),
}
"""Elements that hold elements."""


def _element_parts(data: bytes) -> list[Part]:
    parts, at = [], 0
    while at < len(data) and data[at]:
        width = 9 - data[at].bit_length()
        kind, at = data[at : at + width], at + width
        if at >= len(data) or not data[at]:
            break
        width = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + width]) & ((1 << 7 * width) - 1)
        at += width
        if size == (1 << 7 * width) - 1:  # unknown: to the end
            size = len(data) - at
        body = data[at : at + size]
        whole = kind in _MASTERS
        parts.append(Part(kind, b"" if whole else body, _element_parts(body) if whole else []))
        at += size
    return parts


def _element(kind: bytes, body: bytes, size: int) -> bytes:
    return kind + (size | 1 << 56).to_bytes(8) + body


def _gif_parts(data: bytes) -> list[Part]:
    """The screen, then extensions and pictures; the kind of each is its first byte."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    parts = [Part(b"", data[:at])]
    while at < len(data) and data[at] in b"\x21\x2c":
        end = at + 2
        if data[at] == 0x2C:
            flags = data[at + 9]
            end = at + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        while data[end]:
            end += data[end] + 1
        parts.append(Part(data[at : at + 1], data[at + 1 : end + 1]))
        at = end + 1
    return [*parts, Part(b"", data[at:])]


def _plain(kind: bytes, body: bytes, _size: int) -> bytes:
    return kind + body


_MEDIA, _RIFF = Format(_box_parts, _box), Format(_riff_parts, _riff)
_EBML, _PNG = Format(_element_parts, _element), Format(_png_parts, _png)

FORMATS = {
    **dict.fromkeys(("mp4", "mov"), _MEDIA),
    **dict.fromkeys(("mkv", "webm"), _EBML),
    **dict.fromkeys(("avi", "webp"), _RIFF),
    **dict.fromkeys(("png", "apng"), _PNG),
    "gif": Format(_gif_parts, _plain),
}
"""By the last part of a file's name."""
