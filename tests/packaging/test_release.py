"""The lock files and the workflows that use them: complete, hashed, and of programs that exist."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

WORKFLOWS = ("audit.yml", "release.yml")


def locked(path: Path) -> dict[str, list[str]]:
    """The lines of each locked version: ``name==version``, then its hashes."""
    found: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", path.read_text().strip()):
        first, *hashes = entry.split("\\\n")
        requirement = Requirement(first)
        found[canonicalize_name(requirement.name)] = [str(requirement.specifier), *hashes]
    return found


@pytest.mark.parametrize("name", ["dev.lock", "audit.lock"])
def test_every_locked_version_has_hashes(root: Path, name: str) -> None:
    for package, (version, *hashes) in locked(root / "requirements" / name).items():
        assert re.fullmatch(r"==[\w.]+", version), f"{package}: a version that anybody can get"
        assert hashes, package
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one.strip()) for one in hashes)


def test_everything_declared_is_locked_as_it_was_tested(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    lock = locked(root / "requirements/dev.lock")
    missing = {
        Requirement(line).name
        for line in lines
        if canonicalize_name(Requirement(line).name) not in lock
    }
    assert missing == set(), "run scripts/lock.sh"
    pins = dict(
        line.split("==") for line in (root / "constraints.txt").read_text().split() if "==" in line
    )
    other = {
        name
        for name, pin in pins.items()
        if (found := lock.get(canonicalize_name(name))) and found[0] != f"=={pin}"
    }
    assert other == set(), "run scripts/lock.sh"


def test_the_auditor_is_the_same_in_both(root: Path) -> None:
    auditor, all_ = (locked(root / "requirements" / n) for n in ("audit.lock", "dev.lock"))
    assert auditor["pip-audit"] == all_["pip-audit"]
    assert "torch" not in auditor


@pytest.fixture(params=WORKFLOWS)
def workflow(request: pytest.FixtureRequest, root: Path) -> dict[Any, Any]:
    loaded = yaml.safe_load((root / ".github/workflows" / request.param).read_text())
    assert isinstance(loaded, dict)
    return loaded


def scripts(workflow: dict[Any, Any]) -> list[str]:
    return [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]


def test_scripts_are_shell_and_name_files_that_exist(workflow: dict[Any, Any], root: Path) -> None:
    for script in scripts(workflow):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        for name in re.findall(r"(?:requirements|fixtures|autogaze_cli)/[\w./-]+", script):
            assert (root / name).exists(), name
        for module in re.findall(r"-m (scripts\.\w+)", script):
            assert (root / module.replace(".", "/")).with_suffix(".py").exists(), module
        for line in script.splitlines():
            if "pip install" in line and ".venv" in line:
                assert "--require-hashes" in line, line


def test_only_the_job_that_attests_may_write(root: Path) -> None:
    release = yaml.safe_load((root / ".github/workflows/release.yml").read_text())
    assert release["permissions"] == {"contents": "read"}
    may = {name: job.get("permissions") for name, job in release["jobs"].items()}
    attest = {"contents": "write", "id-token": "write", "attestations": "write"}
    assert may == {"build": None, "try": None, "attest": attest}
    assert release["jobs"]["attest"]["needs"] == ["build", "try"]
    assert not any(
        "actions/checkout" in s.get("uses", "") for s in release["jobs"]["attest"]["steps"]
    )


def test_names_in_expressions_reach_no_shell(workflow: dict[Any, Any]) -> None:
    assert [script for script in scripts(workflow) if "${{" in script] == []
