"""The migration patch for burn_jepa applies to files with its context, and leaves them clean."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.patches import MIGRATIONS, patch_problems
from autogaze_cli.audit.settings import AuditSettings
from autogaze_cli.cli.main import cli
from autogaze_cli.readout import (
    ReadoutConfig,
    SparseReadoutGrid,
    SparseReadoutOptions,
    generated_to_frame_readout_tokens,
)

PATCH = MIGRATIONS["burn_jepa"]
FILES = {"src/autogaze.rs", "src/experiment.rs", "src/lib.rs"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Files that hold the lines the patch expects, not quite where it says, and nothing else."""
    root = tmp_path / "checkout"
    for part in PATCH.read_text().split("diff --git ")[1:]:
        name = re.findall(r"^--- a/(.*)$", part, re.MULTILINE)[0]
        lines: list[str] = []
        for start, body in re.findall(r"^@@ -(\d+),.*@@\n((?:[ +-].*\n|\n)+)", part, re.MULTILINE):
            lines += ["//"] * (int(start) - len(lines) if lines else 0)
            lines += [line[1:] for line in body.splitlines() if line[:1] != "+"]
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*lines, "// the rest", ""]))
    return root


def rules(root: Path) -> set[str]:
    return {finding.rule for finding in run_audit([root], AuditSettings()).findings}


def git_apply(root: Path) -> None:
    subprocess.run(
        ["git", "apply", str(PATCH)],
        cwd=root,
        check=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)},
    )


def test_it_applies_and_removes_every_finding(checkout: Path) -> None:
    assert {str(f.relative_to(checkout)) for f in checkout.rglob("*.rs")} == FILES
    assert patch_problems(PATCH, checkout) == []
    assert rules(checkout) >= {"AGR101", "AGR103", "AGR111"}
    git_apply(checkout)
    assert rules(checkout) == set()
    assert patch_problems(PATCH, checkout) != []
    after = (checkout / "src/autogaze.rs").read_text()
    assert "generated_to_frame_readout_tokens(" in after
    assert "gazing_pos.first" not in after
    assert "tokens_per_frame) as i64" not in after


def test_every_call_in_the_migrated_files_has_the_model(checkout: Path) -> None:
    git_apply(checkout)
    text = "".join((checkout / name).read_text() for name in sorted(FILES))
    calls = re.findall(r"project_generated_(?:tokens|masks)\(([^)]*)", text)
    assert len(calls) == 5
    assert all(re.match(r"\s*&self|&model|autogaze\.config\(", call) for call in calls)


def test_what_its_rust_tests_expect_is_what_the_helper_gives() -> None:
    """``burn_autogaze`` has the same helper under the same name."""
    generated = {
        "gazing_pos": [[0, 1, 4, 5, 9, 11]],
        "num_gazing_each_frame": [2, 2, 2],
        "if_padded_gazing": [[False, True, False, False, False, False]],
        "confidences": [[1.0] * 6],
    }
    found = generated_to_frame_readout_tokens(
        generated,
        ReadoutConfig(scales="32", num_vision_tokens_each_frame=4),
        0,
        SparseReadoutGrid(2, 2),
        SparseReadoutOptions(max_fixations_per_frame=2),
    )
    expected = [[int(token) for token in tokens] for tokens in found]
    rust = str(expected).replace("[", "vec![")
    assert f"             {rust}\n" in PATCH.read_text()


def test_the_command_offers_it_by_name(checkout: Path) -> None:
    run = CliRunner()
    shown = run.invoke(cli, ["audit-readout", "--show-patch", "burn_jepa"])
    assert (shown.exit_code, shown.stdout) == (0, PATCH.read_text())
    there = run.invoke(cli, ["audit-readout", "--check-patch", "burn_jepa", str(checkout)])
    assert (there.exit_code, "applies to" in there.stdout) == (0, True)
    git_apply(checkout)
    again = run.invoke(cli, ["audit-readout", "--check-patch", "burn_jepa", str(checkout)])
    assert (again.exit_code, "does not apply" in again.stdout) == (1, True)
    other = run.invoke(cli, ["audit-readout", "--show-patch", "nothing"])
    assert other.exit_code == 2
    assert "only for burn_jepa" in other.stderr
