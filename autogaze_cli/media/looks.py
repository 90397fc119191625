"""What the first bytes of a file say, before anything opens it as a video."""

from __future__ import annotations

LOOK_BYTES = 4096
"""How much of a file is looked at."""

PLAYLISTS = (b"#EXTM3U", b"ffconcat")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TEXT = frozenset(range(32, 256)) - {127} | set(b"\t\n\r\f\v\b\x1b")


def is_text(head: bytes) -> bool:
    """Whether a file that begins so is text, and no playlist; so is an empty one.

    It tells transport streams from the source text of TypeScript, which has the same suffixes.
    """
    if head.startswith(PLAYLISTS):
        return False
    return head.startswith(_UTF16) or _TEXT.issuperset(head)
