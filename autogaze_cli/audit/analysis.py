"""One file: from its bytes to its findings."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from autogaze_cli.audit import suppressions
from autogaze_cli.audit.findings import Finding, Related
from autogaze_cli.audit.flow import File
from autogaze_cli.audit.languages import Code, code, parser
from autogaze_cli.audit.names import LEGACY, Names, is_evidence, normalise
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.rules import STAGES, Hit
from autogaze_cli.audit.rules.decoders import mask_projection, takes_output
from autogaze_cli.audit.scopes import Scope
from autogaze_cli.audit.suppressions import Suppression
from autogaze_cli.audit.tree import parse

_MAKING = re.compile(rb"^[ \t]*class[ \t]+(AutoGaze|AutoGazeModel)\b", re.MULTILINE)
_MENTION = re.compile(rb"gazing|auto[_-]?gaze|gaze_?(?:pos|ids|token)")
_TEST_FOLDERS = frozenset(["test", "tests", "spec", "__tests__", "testdata"])
_TEST_NAME = re.compile(
    r"^(?:test_.*\.py|.*_test\.py|conftest\.py|.*_test\.go|.*\.test\..*|.*\.spec\..*|.*_test\.cc)$"
)
_ON_NAME = frozenset(["AGR101", "AGR102", "AGR109"])


@dataclass(slots=True)
class FileResult:
    """What one file has to do with AutoGaze.

    Attributes:
        findings: What the rules found, in no order.
        comments: Its comments for the audit, each with a finding at its place.
        decoders: Names of the functions that decode ids.
        projections: Functions that are findings if they call a decoder: the finding, and the
            name and place of each of their calls.
        access: First access to the generated output, as a finding without a rule, or None.
        calls_helper: Whether it calls a readout helper.
        defines: Which of the research package's two classes it defines.
        damage: Line of the first syntax that could not be read, or None.
        cut: Whether nothing after that line was read.
        test: Whether it is a file of tests.
    """

    findings: list[Finding] = field(default_factory=list)
    comments: list[tuple[Suppression, Finding]] = field(default_factory=list)
    decoders: set[str] = field(default_factory=set)
    projections: list[tuple[Finding, list[tuple[str, Related]]]] = field(default_factory=list)
    access: Finding | None = None
    calls_helper: bool = False
    defines: set[str] = field(default_factory=set)
    damage: int | None = None
    cut: bool = False
    test: bool = False


def is_candidate(data: bytes, names: Names, *, helpers: bool) -> bool:
    """Whether a file could hold anything to report: a quick look at its bytes.

    Args:
        data: The file.
        names: The classes of names.
        helpers: Whether calls of the helpers matter too.
    """
    lower = data.lower()
    if b"gaz" in lower and _MENTION.search(lower):
        return True
    if helpers and b"readout" in lower:
        return True
    extra = (*names.extra_id_names, *(names.extra_helper_names if helpers else ()))
    return any(name.replace("_", "").encode() in lower.replace(b"_", b"") for name in extra)


def is_test(path: str) -> bool:
    """Whether a file holds tests, by where it lies and what it is called."""
    *folders, name = path.split("/")
    return not _TEST_FOLDERS.isdisjoint(folders) or bool(_TEST_NAME.match(name))


def analyse(path: str, data: bytes, names: Names) -> FileResult:
    """Find what the rules object to in one file.

    Args:
        path: Its name, relative with slashes.
        data: Its bytes.
        names: The classes of names.

    Raises:
        ValueError: When it is not what its suffix says.
        RecursionError: When its code is nested too deeply to be followed.
    """
    source = code(path, data)
    tree = parse(source.text, parser(path))
    view = _View(path, source, tree.comments, tree.tests)
    result = FileResult(comments=view.suppressions(), test=view.is_test)
    result.defines = {match[1].decode() for match in _MAKING.finditer(source.text)}
    if tree.damage is not None:
        result.damage, result.cut = view.place(tree.damage)[0], tree.cut is not None
    relevant = [word for _, word in tree.words if is_evidence(word) or names.is_ids(word)]
    file = File(source.text, tree, names)
    result.calls_helper = any(_calls_helper(scope, names) for scope in file.scopes)
    strong = sorted(
        (node for s in file.scopes for node in (*s.accesses, *s.pads, *s.counts)),
        key=lambda node: node.at,
    )
    if strong:
        result.access = view.finding("", strong[0], "", "<module>")
    if relevant or strong:
        for scope in file.scopes:
            _apply(file, scope, view, result)
    return result


def _apply(file: File, scope: Scope, view: _View, result: FileResult) -> None:
    """Run the rules on one scope."""
    legacy = normalise(scope.name) in LEGACY
    if scope.is_quiet() and not legacy and not takes_output(scope):
        return
    hits: list[Hit] = []
    for rule in STAGES:
        if rule.check is not None:
            hits += list(rule.check(file, scope, hits))
    found: dict[tuple[str, int], Finding] = {}
    for hit in sorted(hits, key=lambda hit: hit.node.at):
        label = scope.label if hit.rule != "AGR107" else _owner(file, hit.node)
        finding = view.finding(hit.rule, hit.node, hit.message, label)
        finding.related = [view.related(node, message) for node, message in hit.related]
        found.setdefault((hit.rule, finding.line), finding)
    known = {(finding.rule, finding.line) for finding in result.findings}
    result.findings += [finding for key, finding in found.items() if key not in known]
    if any(hit.rule == "AGR101" for hit in hits) and scope.function is not None:
        result.decoders.add(scope.name)
    projected = any(hit.rule == "AGR102" for hit in hits)
    masks = "mask" in normalise(scope.name) and scope.function is not None
    if masks and not projected and (takes_output(scope) or scope.accesses):
        hit = mask_projection(scope)
        finding = view.finding(hit.rule, hit.node, hit.message, scope.label)
        place = [
            (node.text, view.related(node, "calls the local decoder")) for node in scope.of("call")
        ]
        result.projections.append((finding, place))


def _owner(file: File, node: Node) -> str:
    """The scope a constant is defined in."""
    return next((s.label for s in file.scopes if node in s.parents), "<module>")


def _calls_helper(scope: Scope, names: Names) -> bool:
    return any(names.is_helper(node.text) for node in scope.of("name", "member", "call"))


class _View:
    """Places in a file as a reader counts them."""

    def __init__(
        self,
        path: str,
        source: Code,
        comments: list[tuple[int, int]],
        tests: list[tuple[int, int]],
    ) -> None:
        self.path = path
        self.source = source
        self.comments = sorted(comments)
        self.tests = tests
        self.is_test = is_test(path)
        self.starts = [0, *(m.end() for m in re.finditer(b"\n", source.text))]
        bare = bytearray(source.text)
        for start, end in comments:
            bare[start:end] = re.sub(rb"[^\n]", b" ", source.text[start:end])
        self.bare = bytes(bare)

    def place(self, offset: int) -> tuple[int, int]:
        """Line of the file and column, both from 1."""
        row = bisect_right(self.starts, offset) - 1
        column = len(self.source.text[self.starts[row] : offset].decode("utf-8", "replace")) + 1
        return self._line(row), column

    def _line(self, row: int) -> int:
        lines = self.source.lines
        return row + 1 if lines is None else lines[min(row, len(lines) - 1)]

    def _row(self, text: bytes, offset: int) -> str:
        row = bisect_right(self.starts, offset) - 1
        end = self.starts[row + 1] if row + 1 < len(self.starts) else len(text)
        return text[self.starts[row] : end].decode("utf-8", "replace").rstrip("\r\n")

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
        inside = any(start <= node.at < end for start, end in self.tests)
        return Finding(
            rule=rule,
            path=self.path,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            message=message,
            scope=scope,
            snippet=self._row(self.source.text, node.at),
            code=" ".join(self._row(self.bare, node.at).split()),
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
            text = self.source.text[start:end]
            if b"autogaze-audit" in text:
                row = bisect_right(self.starts, start) - 1
                texts.append((row + 1, self.place(start)[1], text.decode("utf-8", "replace")))
        if not texts:
            return []
        lines = self.bare.decode("utf-8", "replace").split("\n")
        found = []
        for item in suppressions.read(lines, texts):
            before = lines[item.line - 1][: item.column - 1].encode()
            at = self.starts[item.line - 1] + len(before)
            end = at + len(lines[item.line - 1][: item.end_column - 1].encode()) - len(before)
            finding = self.finding("", Node("comment", at, end, at), "", "<module>")
            item.line, item.first, item.last = (
                self._line(line - 1) if line else 0 for line in (item.line, item.first, item.last)
            )
            found.append((item, finding))
        return found
