"""One file: from its bytes to its findings."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

from autogaze_cli.audit.deadline import Deadline, TimeLimitError
from autogaze_cli.audit.findings import Finding, Related
from autogaze_cli.audit.flow import File
from autogaze_cli.audit.languages import code, parser
from autogaze_cli.audit.names import LEGACY, Names, is_evidence, normalise
from autogaze_cli.audit.nodes import Node
from autogaze_cli.audit.providers import definitions
from autogaze_cli.audit.rules import BY_ID, STAGES, Hit, Rule
from autogaze_cli.audit.rules.advice import helpers
from autogaze_cli.audit.rules.decoders import mask_projection, takes_output
from autogaze_cli.audit.scopes import Scope
from autogaze_cli.audit.suppressions import Suppression
from autogaze_cli.audit.tree import parse
from autogaze_cli.audit.view import View

_MENTION = re.compile(rb"gazing|auto[_-]?gaze|gaze_?(?:pos|ids|token)")
_BY_TABLE = tuple(rule for rule in STAGES if rule.id in ("AGR105", "AGR106", "AGR115"))
"""What is looked for in a file that mentions AutoGaze in a comment, a string or its path alone."""

_READOUT = "autogaze_cli.readout"
"""Whoever imports from it calls a helper, whatever its name."""

_RECURSION = 20_000
"""Calls in one another: a dozen for each of the constructs that may be nested."""


@dataclass(slots=True)
class FileResult:
    """What one file has to do with AutoGaze.

    Attributes:
        findings: What the rules found, in no order.
        places: Rule and line of each of them.
        comments: Its comments for the audit, each with a finding at its place.
        decoders: Names of the functions that decode ids.
        projections: Functions that are findings if they call a decoder: the finding, and the
            name and place of each of their calls.
        access: First access to the generated output, as a finding without a rule, or None.
        calls_helper: Whether it calls a readout helper.
        defines: What of a provider it defines, see ``providers``.
        damage: What could not be read, "" where all could.
        failure: Why nothing could, as a reason and a message, or None.
        test: Whether it is a file of tests.
    """

    findings: list[Finding] = field(default_factory=list)
    places: set[tuple[str, int]] = field(default_factory=set)
    comments: list[tuple[Suppression, Finding]] = field(default_factory=list)
    decoders: set[str] = field(default_factory=set)
    projections: list[tuple[Finding, list[tuple[str, Related]]]] = field(default_factory=list)
    access: Finding | None = None
    calls_helper: bool = False
    defines: set[str] = field(default_factory=set)
    damage: str = ""
    failure: tuple[str, str] | None = None
    test: bool = False


def is_candidate(path: str, text: bytes, names: Names, *, helpers: bool) -> bool:
    """Whether a file could hold anything to report: a quick look at its bytes.

    Args:
        path: Its name.
        text: Its text.
        names: The classes of names.
        helpers: Whether calls of the helpers matter too.
    """
    lower = text.lower()
    if b"gaz" in lower and _MENTION.search(lower):
        return True
    if _MENTION.search(path.lower().encode("utf-8", "replace")):
        return True
    if helpers and b"readout" in lower:
        return True
    extra = (*names.extra_id_names, *(names.extra_helper_names if helpers else ()))
    return any(name.replace("_", "").encode() in lower.replace(b"_", b"") for name in extra)


def analyse(path: str, text: bytes, names: Names, limit_s: float = 60.0) -> FileResult:
    """Find what the rules object to in one file.

    Args:
        path: Its name, relative with slashes.
        text: Its text in UTF-8.
        names: The classes of names.
        limit_s: Seconds it may take; one that takes longer is not analysed.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION))
    try:
        return _analyse(path, text, names, Deadline(limit_s))
    except TimeLimitError:
        failure = "timed out", f"not analysed: it took longer than {limit_s:g} s"
    except RecursionError:
        failure = "unparsed", "not analysed: nested too deeply"
    except ValueError as error:
        failure = "unparsed", f"not analysed: {error}"
    finally:
        sys.setrecursionlimit(limit)
    return FileResult(failure=failure)


def _analyse(path: str, text: bytes, names: Names, deadline: Deadline) -> FileResult:
    source = code(path, text)
    tree = parse(source.text, parser(path), deadline)
    view = View(path, source, tree)
    result = FileResult(comments=view.suppressions(), test=view.is_test)
    result.defines = definitions(source.text)
    if tree.damage is not None:
        rest = "nothing after it" if tree.cut is not None else "what could be parsed around it"
        line = view.place(tree.damage)[0]
        result.damage = f"line {line} could not be parsed; {rest} was analysed"
    relevant = any(is_evidence(word) or names.is_ids(word) for _, word in tree.words)
    file = File(source.text, tree, names, deadline)
    result.calls_helper = any(_READOUT in text for text in tree.imports) or any(
        _calls_helper(scope, names) for scope in file.scopes
    )
    strong = sorted(
        (node for s in file.scopes for node in (*s.accesses, *s.pads, *s.counts)),
        key=lambda node: node.at,
    )
    if strong:
        result.access = view.finding("", strong[0], "", "<module>")
    stages = STAGES if relevant or strong else _BY_TABLE if file.has_scales() else ()
    for scope in file.scopes if stages else ():
        deadline.check()
        _apply(file, scope, stages, view, result)
    return result


def _apply(
    file: File, scope: Scope, stages: tuple[Rule, ...], view: View, result: FileResult
) -> None:
    """Run the rules on one scope."""
    legacy = normalise(scope.name) in LEGACY
    if file.is_quiet(scope) and not legacy and not takes_output(scope):
        return
    hits: list[Hit] = []
    for rule in stages:
        if rule.check is not None:
            hits += list(rule.check(file, scope, hits))
    found: dict[tuple[str, int], Finding] = {}
    for hit in sorted(hits, key=lambda hit: hit.node.at):
        label = scope.label if hit.rule != "AGR107" else _owner(file, hit.node)
        finding = view.finding(hit.rule, hit.node, hit.message, label)
        finding.use = helpers(hit, hits)
        advice = BY_ID[hit.rule].advice.format(finding.use[0])
        finding.message = f"{hit.message}; {advice}"
        finding.related = [view.related(node, message) for node, message in hit.related]
        found.setdefault((hit.rule, finding.line), finding)
    result.findings += [finding for key, finding in found.items() if key not in result.places]
    result.places |= found.keys()
    if any(hit.rule == "AGR101" for hit in hits) and scope.function is not None:
        result.decoders.add(scope.name)
    projected = any(hit.rule == "AGR102" for hit in hits)
    masks = "mask" in normalise(scope.name) and scope.function is not None
    if masks and not projected and (takes_output(scope) or scope.accesses):
        hit = mask_projection(scope)
        finding = view.finding(hit.rule, hit.node, hit.message, scope.label)
        finding.use = BY_ID[hit.rule].use
        finding.message = f"{hit.message}; {BY_ID[hit.rule].advice.format(finding.use[0])}"
        place = [
            (node.text, view.related(node, "calls the local decoder")) for node in scope.of("call")
        ]
        result.projections.append((finding, place))


def _owner(file: File, node: Node) -> str:
    """The scope a constant is defined in."""
    return next((s.label for s in file.scopes if node in s.parents), "<module>")


def _calls_helper(scope: Scope, names: Names) -> bool:
    return any(names.is_helper(node.text) for node in scope.of("name", "member", "call"))
