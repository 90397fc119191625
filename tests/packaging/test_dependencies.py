"""Dependencies: what is declared, what is pinned, and what the code imports."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What each room may import of the others: the arrows of docs/architecture.md. A loose file is a
# room of its own.
BASE = {"errors", "version"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "progress": set(),
    "cpus": set(),
    "reading": {"errors"},
    "media": {"errors", "cpus"},
    "gaze": {"errors"},
    "audit": {*BASE, "cpus", "reading"},
    "trace": {*BASE, "gaze", "reading"},
    "readout": {*BASE, "gaze", "reading", "trace"},
    "visualize": {*BASE, "gaze", "trace"},
    "player": {*BASE, "gaze", "media", "trace", "visualize"},
    "model": {"errors", "gaze", "reading"},
    "encoders": {"errors", "gaze", "model", "reading", "trace"},
    "sources": {"errors", "gaze", "media", "model", "trace"},
    "inference": {*BASE, *("gaze", "media", "model", "readout", "sources", "trace", "visualize")},
    "batch": {*BASE, "cpus", "media", "progress", "reading"},
}
ROOMS["bench"] = {*ROOMS["sources"], *BASE, "inference", "reading", "sources", "visualize"}
ROOMS["jobs"] = ROOMS.keys() - {"audit", "bench", "jobs"}
ROOMS["compare"] = {*ROOMS["bench"], *("batch", "bench", "cpus", "encoders", "player", "progress")}
ROOMS["api"] = {"batch", "errors", "jobs", "media"}
ROOMS["cli"] = {*BASE, "batch", "gaze", "jobs", "media", "model", "progress", "reading", "sources"}
ROOMS["cli"] |= {"compare", "visualize"}
ROOMS["commands"] = ROOMS.keys() - {"api", "commands"}
ROOMS["upstream"] = {"errors", "gaze", "media", "model", "reading"}
ROOMS["__main__"] = {"batch", "cli"}
ROOMS["__init__"] = {"api", "audit", "encoders", "inference", "model", "readout", "version"}
LOOSE_FILES = 8
CLICK = ("autogaze_cli.cli", "autogaze_cli.commands")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def imports(root: Path) -> dict[str, set[str]]:
    """Every module of the package, and the dotted names that it imports, wherever it does."""
    found = {}
    for folder, package in (
        ("autogaze_cli", "autogaze_cli"),
        ("commands", "autogaze_cli.commands"),
    ):
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root / folder).with_suffix("").parts
            module = ".".join([package, *parts]).removesuffix(".__init__")
            found[module] = set(imported_names(ast.parse(path.read_text(), str(path))))
    return found


def imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_below(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_everything_declared_is_pinned_within_its_bounds(
    root: Path, project: dict[str, Any]
) -> None:
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = {}
    for line in lines:
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9a-z.]*)", line)
        assert match, f"not a plain pin: {line}"
        pins[canonicalize_name(match[1])] = match[2]
    extras = project["project"]["optional-dependencies"]
    declared = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(line for extra in extras.values() for line in extra),
    ]
    for requirement in map(Requirement, declared):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pin), f"{requirement} excludes the tested {pin}"


def test_code_imports_only_declared_packages(
    project: dict[str, Any], imports: dict[str, set[str]]
) -> None:
    extras = project["project"]["optional-dependencies"]
    declared = list(project["project"]["dependencies"])
    tools = ("dev", "docs")
    declared += [line for extra, lines in extras.items() if extra not in tools for line in lines]
    allowed = {canonicalize_name(Requirement(line).name) for line in declared}
    allowed.add(
        canonicalize_name("triton")
    )  # comes with PyTorch where that has CUDA, and is imported only there
    distributions = packages_distributions()
    foreign = set()
    for module, names in imports.items():
        for top in {name.partition(".")[0] for name in names}:
            if top in sys.stdlib_module_names or top == "autogaze_cli":
                continue
            owners = {canonicalize_name(name) for name in distributions.get(top, [top])}
            if not owners & allowed:
                foreign.add(f"{module} imports {top}")
    assert foreign == set()


def test_commands_are_leaves(imports: dict[str, set[str]]) -> None:
    crossing = {
        f"{module} imports {name}"
        for module, names in imports.items()
        for name in names
        if is_below(name, "autogaze_cli.commands") or is_below(name, "commands")
    }
    assert crossing == set()


def test_only_the_command_line_knows_click(imports: dict[str, set[str]]) -> None:
    knowing = {m for m, names in imports.items() if any(is_below(n, "click") for n in names)}
    assert "autogaze_cli.cli.main" in knowing
    assert {m for m in knowing if not any(is_below(m, room) for room in CLICK)} == set()


@pytest.fixture(scope="module")
def arrows(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Every module of the package, and the modules of the package that it imports."""
    found: dict[str, set[str]] = {}
    for module, names in imports.items():
        found[module] = set()
        for name in names:
            while name and name not in imports:
                name = name.rpartition(".")[0]
            found[module] |= {name} - {"", module}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_arrows_between_rooms_point_one_way(arrows: dict[str, set[str]]) -> None:
    assert {room(module) for module in arrows} == ROOMS.keys()
    crossing = {
        f"{module} imports {other}"
        for module, others in arrows.items()
        for other in others
        if room(other) not in (room(module), *ROOMS[room(module)])
    }
    assert crossing == set()


def test_no_file_imports_itself_by_way_of_others(arrows: dict[str, set[str]]) -> None:
    left = dict(arrows)
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert left.keys() == set()


def test_the_house_stays_small(root: Path, arrows: dict[str, set[str]]) -> None:
    loose = list((root / "autogaze_cli").glob("*.py"))
    assert len(loose) <= LOOSE_FILES
    assert len(ROOMS) <= 27
    lines = {
        path: len(path.read_text().splitlines())
        for folder in ("autogaze_cli", "commands")
        for path in (root / folder).rglob("*.py")
    }
    assert median(lines.values()) < 150
    assert {path.name: n for path, n in lines.items() if n > 400} == {}


def test_functions_fit_on_a_screen(root: Path) -> None:
    long = {
        f"{path.name}: {node.name}"
        for folder in ("autogaze_cli", "commands")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno
        if node.end_lineno - node.lineno >= 60
    }
    assert long == set()


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("autogaze_cli, autogaze_cli.errors, autogaze_cli.cli.main", "torch av numpy PIL imageio"),
        ("autogaze_cli.trace, autogaze_cli.visualize", "torch av click"),
        ("autogaze_cli.readout, autogaze_cli.jobs.traces, autogaze_cli.jobs.run", "torch av click"),
        ("autogaze_cli.jobs.videos, autogaze_cli.api, autogaze_cli.inference", "torch click"),
        ("autogaze_cli.inference.pipeline", "torch click tqdm"),
        ("autogaze_cli.media", "torch click"),
        (
            "autogaze_cli.audit.audit, autogaze_cli.audit.sarif",
            "torch numpy click rich tree_sitter",
        ),
    ],
)
def test_light_modules_stay_light(root: Path, modules: str, absent: str) -> None:
    code = f"import sys, {modules}; print(*(set({absent.split()!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []


def test_what_needs_no_model_runs_without_pytorch(root: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('PyTorch is not installed')\n")
    clip, out = root / "fixtures/dog.mp4", tmp_path / "out"
    plain = ("--mask-source", "patch-diff", "--frames", "2", "-o", out)
    trace = out / "dog.trace.json"
    for arguments in (
        ("trace", clip, *plain),
        ("mask", clip, "--trace", trace, "-o", out),
        ("interframe", clip, *plain, "--report"),
        ("readout", trace, "--patch-size", "40", "-o", out),
        ("audit-readout", root / "fixtures/audit/neg"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "autogaze_cli", *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{tmp_path}:{root}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
