"""Places in a file as a reader counts them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from autogaze_cli.audit import suppressions
from autogaze_cli.audit.findings import Finding, Related
from autogaze_cli.audit.languages import Code
from autogaze_cli.audit.nodes import Node, Tree
from autogaze_cli.audit.suppressions import Suppression

_TEST_FOLDERS = frozenset(["test", "tests", "spec", "__tests__", "testdata"])
_TEST_NAME = re.compile(
    r"^(?:test_.*\.py|.*_test\.py|conftest\.py|.*_test\.go|.*\.test\..*|.*\.spec\..*|.*_test\.cc)$"
)
_ON_NAME = frozenset(["AGR101", "AGR102", "AGR109"])
_LONGEST_LINE = 4000
"""Bytes of a line that are shown, and known again; of a longer one what stands near the place."""
_NEAR = 200


def is_test(path: str) -> bool:
    """Whether a file holds tests, by where it lies and what it is called."""
    *folders, name = path.split("/")
    return not _TEST_FOLDERS.isdisjoint(folders) or bool(_TEST_NAME.match(name))


class View:
    """The lines and columns of one file.

    Args:
        path: Its name.
        source: Its code.
        tree: The parse of it.
    """

    def __init__(self, path: str, source: Code, tree: Tree) -> None:
        self.path = path
        self.source = source
        self.comments = sorted(tree.comments)
        self._tests = _joined(tree.tests)
        self.is_test = is_test(path)
        text = source.original
        self._starts = [0, *(m.end() for m in re.finditer(b"\n", text))]
        self._inner: list[int] = []  # the bytes of a character after its first
        if not text.isascii():
            self._inner = [m.start() for m in re.finditer(rb"[\x80-\xbf]", text)]
        bare = bytearray(text)
        for start, end in self.comments:
            bare[start:end] = re.sub(rb"[^\n]", b" ", text[start:end])
        self._bare = bytes(bare)

    def place(self, offset: int) -> tuple[int, int]:
        """Line of the file and column, both from 1, the column in code points."""
        row = bisect_right(self._starts, offset) - 1
        start = self._starts[row]
        inner = bisect_left(self._inner, offset) - bisect_left(self._inner, start)
        return self._line(row), offset - start - inner + 1

    def _line(self, row: int) -> int:
        lines = self.source.lines
        return row + 1 if lines is None else lines[min(row, len(lines) - 1)]

    def _row(self, text: bytes, offset: int) -> str:
        """The line around ``offset``; of a long one what stands near it."""
        row = bisect_right(self._starts, offset) - 1
        start = self._starts[row]
        end = self._starts[row + 1] if row + 1 < len(self._starts) else len(text)
        if end - start > _LONGEST_LINE:
            start = max(start, offset - _NEAR // 2)
            end = min(end, start + _NEAR)
        return text[start:end].decode("utf-8", "ignore").rstrip("\r\n")

    def finding(self, rule: str, node: Node, message: str, scope: str) -> Finding:
        """A finding at ``node``."""
        line, column = self.place(node.at)
        end = node.end
        if node.kind == "function":  # its name alone
            name = node.text.rpartition(".")[2]
            end = node.at + len(name.encode())
        end_line, end_column = self.place(max(end, node.at + 1))
        lines = {line}
        if rule in _ON_NAME and node.kind == "function":
            lines.add(self.place(node.head)[0])
        place = bisect_right(self._tests, (node.at, len(self.source.text))) - 1
        inside = place >= 0 and node.at < self._tests[place][1]
        return Finding(
            rule=rule,
            path=self.path,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            message=message,
            scope=scope,
            snippet=self._row(self.source.original, node.at),
            code=" ".join(self._row(self._bare, node.at).split()),
            test=self.is_test or inside,
            lines=frozenset(lines),
        )

    def related(self, node: Node, message: str) -> Related:
        """Another place of a finding."""
        line, column = self.place(node.at)
        return Related(self.path, line, column, message)

    def suppressions(self) -> list[tuple[Suppression, Finding]]:
        """The comments that speak to the audit, with lines as the file counts them."""
        texts = []
        for start, end in self.comments:
            text = self.source.original[start:end]
            if b"autogaze-audit" in text:
                row = bisect_right(self._starts, start)
                texts.append((row, start, text.decode("utf-8", "replace")))
        if not texts:
            return []
        rows = self._bare.decode("utf-8", "replace").split("\n")
        found = []
        for item in suppressions.read(rows, texts):
            place = Node("comment", item.start, item.end, item.start)
            finding = self.finding("", place, "", "<module>")
            item.first, item.last = (
                self._line(line - 1) if line else 0 for line in (item.first, item.last)
            )
            found.append((item, finding))
        return found


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes as spans that do not overlap, in order."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
