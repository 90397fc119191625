"""Dependencies: what is declared, what is pinned, and what the code imports."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# The only modules of the library that may know Click: they are the command line.
CLICK_MODULES = {
    f"autogaze_cli.{name}"
    for name in ("api", "command", "config", "lazy", "main", "option_types", "options", "stdout")
}


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
    assert {m for m in knowing if not is_below(m, "autogaze_cli.commands")} <= CLICK_MODULES


def test_rooms_do_not_know_each_other(imports: dict[str, set[str]]) -> None:
    # docs/architecture.md, "must not know".
    walls = {
        "autogaze_cli.media": ["gaze", "model", "visualize", "trace", "inference", "render"],
        "autogaze_cli.model": ["media", "visualize", "trace", "inference", "render"],
        "autogaze_cli.gaze": ["media", "visualize", "trace", "inference", "render"],
        "autogaze_cli.visualize": ["media", "model", "inference", "render"],
        "autogaze_cli.trace": ["media", "model", "inference", "visualize", "render"],
        "autogaze_cli.readout": ["media", "model", "inference", "visualize", "render"],
        "autogaze_cli.inference": ["visualize", "render", "player"],
        "autogaze_cli.player": ["model", "inference", "render", "pages", "batch"],
        "autogaze_cli.audit": [
            *("media", "model", "gaze", "trace", "readout", "inference", "visualize", "render")
        ],
    }
    crossing = {
        f"{module} imports {name}"
        for module, names in imports.items()
        for room, others in walls.items()
        if is_below(module, room)
        for name in names
        for other in others
        if is_below(name, f"autogaze_cli.{other}")
    }
    assert crossing == set()


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("autogaze_cli, autogaze_cli.errors, autogaze_cli.cli.main", "torch av numpy PIL imageio"),
        ("autogaze_cli.trace, autogaze_cli.visualize", "torch av click"),
        ("autogaze_cli.readout, autogaze_cli.jobs.readout", "torch av click"),
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
