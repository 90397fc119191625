"""The GitHub action: its steps as a runner would take them, against real files."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement


@pytest.fixture(scope="module")
def action(root: Path) -> dict[str, Any]:
    loaded = yaml.safe_load((root / "action.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@dataclass(frozen=True)
class Done:
    code: int
    text: str
    outputs: dict[str, str]


class Runner:
    """What a runner does with the step ``Run autogaze``: inputs to variables, script to bash."""

    def __init__(self, action: dict[str, Any], root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        (self.step,) = (s for s in action["runs"]["steps"] if s.get("id") == "run")
        self.defaults = {name: i.get("default", "") for name, i in action["inputs"].items()}
        program = folder / "temp" / "autogaze" / "bin" / "autogaze"  # as the step before leaves it
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m autogaze_cli "$@"\n')
        program.chmod(0o755)

    def run(self, **given: str) -> Done:
        values = self.defaults | {name.replace("_", "-"): value for name, value in given.items()}
        inputs = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: values[m[1]], text)
            for name, text in self.step["env"].items()
        }
        script, output = self.folder / "temp" / "step.sh", self.folder / "temp" / "output"
        script.write_text(self.step["run"])
        output.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder,
            env={
                **os.environ,
                **inputs,
                "PYTHONPATH": str(self.root),
                "RUNNER_TEMP": str(self.folder / "temp"),
                "GITHUB_OUTPUT": str(output),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines = output.read_text().splitlines()
        return Done(done.returncode, done.stdout, dict(line.split("=", 1) for line in lines))


@pytest.fixture
def runner(action: dict[str, Any], root: Path, tmp_path: Path) -> Runner:
    return Runner(action, root, tmp_path)


def test_no_input_becomes_part_of_a_script(action: dict[str, Any]) -> None:
    scripts = [step["run"] for step in action["runs"]["steps"] if "run" in step]
    assert len(scripts) == 2
    assert not any("${{" in script for script in scripts)


def test_the_audit_installs_what_it_reads_source_with(root: Path, action: dict[str, Any]) -> None:
    (script,) = (s["run"] for s in action["runs"]["steps"] if s.get("name") == "Install autogaze")
    listed = re.findall(r"\b(click|tree-sitter[\w-]*)\b", script)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    names = [Requirement(line).name for line in project["dependencies"]]
    assert listed == [name for name in names if name.startswith(("click", "tree-sitter"))]


def test_audit_writes_a_report_and_fails_on_findings(root: Path, runner: Runner) -> None:
    shutil.copytree(root / "fixtures" / "audit" / "pos", runner.folder / "my code")
    hostile = "$(touch pwned)"
    done = runner.run(
        command="audit",
        paths="my code\n",
        sarif="report of 'CI'.sarif",
        args=f"--exclude={hostile}\n",
    )
    assert (done.code, done.text) == (1, "")
    assert done.outputs == {"exit-code": "1", "sarif": "report of 'CI'.sarif"}
    report = json.loads((runner.folder / "report of 'CI'.sarif").read_text())
    rules = {result["ruleId"] for result in report["runs"][0]["results"]}
    assert "AGR103" in rules
    assert not list(runner.folder.rglob("pwned"))


def test_audit_that_cannot_be_done_leaves_no_old_report(runner: Runner) -> None:
    (runner.folder / "autogaze.sarif").write_text("of the last run")
    done = runner.run(command="audit", paths="not there")
    assert done.code == 2
    assert done.outputs == {"exit-code": "2"}
    assert not (runner.folder / "autogaze.sarif").exists()


@pytest.mark.slow
def test_check_tells_what_differs(root: Path, runner: Runner) -> None:
    shutil.copy(root / "fixtures" / "dog.mp4", runner.folder / "clip.mp4")
    settings = ["--frames=2", "--width=64", "--height=48", "--mask-source=patch-diff"]
    render = ["render-assets", "--input=clip.mp4", "--out-dir=assets", "--quiet", *settings]
    program = str(runner.folder / "temp" / "autogaze" / "bin" / "autogaze")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([program, *render], cwd=runner.folder, env=environment, check=True)
    done = runner.run(
        command="check", input="clip.mp4", out_dir="assets", args="\n".join([*settings, "--quiet"])
    )
    assert (done.code, done.text, done.outputs) == (0, "", {"exit-code": "0"})
    (runner.folder / "assets" / "autogaze_clip_mask.gif").unlink()
    (runner.folder / "autogaze.toml").write_text(
        '[render-assets]\ninput = ["clip.mp4"]\nout-dir = "assets"\nmask-source = "patch-diff"\n'
        "frames = 2\nwidth = 64\nheight = 48\nquiet = 1\n"
    )
    done = runner.run(command="check")
    assert (done.code, done.outputs) == (1, {"exit-code": "1"})
    assert done.text.startswith("assets/autogaze_clip_mask.gif: missing")
