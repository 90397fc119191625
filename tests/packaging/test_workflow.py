"""The workflow of the repository: that it parses, and names what exists here."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def workflow(root: Path) -> dict[Any, Any]:
    loaded = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def steps(workflow: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def uploads(workflow: dict[Any, Any]) -> dict[str, str]:
    """What is kept, by the action that keeps it."""
    return {
        step["uses"].partition("@")[0]: step["with"]["path"]
        for step in steps(workflow)
        if step.get("uses", "").startswith("actions/upload-")
    }


def test_it_runs_for_every_change(workflow: dict[Any, Any]) -> None:
    assert workflow[True].keys() == {"push", "pull_request", "workflow_dispatch"}  # YAML's "on"
    assert workflow[True]["push"] == {"branches": ["main"]}


def test_its_scripts_are_shell_and_exist(workflow: dict[Any, Any], root: Path) -> None:
    scripts = [step["run"] for step in steps(workflow) if "run" in step]
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    named = {
        word
        for script in scripts
        for word in re.findall(r"[\w./-]*/[\w./-]+", script)
        if not word.startswith(".venv/") and not word.startswith("results/")
    }
    assert {".ci/run", "tests/browser"} <= named
    assert all((root / word).exists() for word in named)
    assert os.access(root / ".ci/run", os.X_OK)


def test_results_of_all_tests_and_of_the_browser_are_kept(workflow: dict[Any, Any]) -> None:
    text = yaml.safe_dump(workflow)
    reports = set(re.findall(r"--junitxml=([\w./]+)", text))
    assert reports == {"results/tests.xml", "results/browser.xml"}
    assert uploads(workflow)["actions/upload-artifact"] == "results/"
    (browser,) = (step for step in steps(workflow) if "tests/browser" in step.get("run", ""))
    assert browser["run"].endswith("results/browser.xml")


def test_the_site_that_is_published_is_the_one_that_is_built(
    workflow: dict[Any, Any], root: Path
) -> None:
    (built,) = re.findall(r"^site_dir: (.+)$", (root / "mkdocs.yml").read_text(), re.MULTILINE)
    assert uploads(workflow)["actions/upload-pages-artifact"].rstrip("/") == built
    publish = workflow["jobs"]["publish"]
    assert publish["needs"] == "test"
    assert "refs/heads/main" in publish["if"]
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["test"]


def test_it_names_no_machine(workflow: dict[Any, Any], root: Path) -> None:
    assert {job["runs-on"] for job in workflow["jobs"].values()} == {"ubuntu-24.04"}
    text = (root / ".github/workflows/ci.yml").read_text()
    assert "://" not in text
    assert "self-hosted" not in text
    for step in steps(workflow):
        assert "run" in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
