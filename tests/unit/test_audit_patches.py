"""Whether a patch applies, as git says it in a folder of its own."""

from __future__ import annotations

import difflib
import random
import subprocess
from pathlib import Path

import pytest

from autogaze_cli.audit import patches
from autogaze_cli.audit.patches import patch_problems
from autogaze_cli.errors import InputError

PATCH = """\
--- a/src/a.py
+++ b/src/a.py
@@ -1,2 +1,2 @@
 import torch
-local = ids % 265
+local = frames[0]
"""


def git_applies(patch: Path, root: Path) -> bool:
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)],
        cwd=root,
        capture_output=True,
        check=False,
        env={"GIT_CEILING_DIRECTORIES": str(root.parent)},
    )
    return done.returncode == 0


def test_whether_a_patch_applies(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "src").mkdir(parents=True)
    file = root / "src/a.py"
    patch = tmp_path / "move.patch"
    patch.write_text(PATCH)
    file.write_text("import torch\nlocal = ids % 265\n")
    assert patch_problems(patch, root) == []
    assert file.read_text() == "import torch\nlocal = ids % 265\n"
    file.write_text("import torch\nlocal = frames[0]\n")
    assert patch_problems(patch, root) == ["src/a.py: the hunk at line 1 does not apply"]
    file.unlink()
    assert patch_problems(patch, root) == ["src/a.py: no such file"]


def test_the_same_verdict_as_git(tmp_path: Path) -> None:
    chance = random.Random(1)
    root = tmp_path / "root"
    root.mkdir()
    patch, file = tmp_path / "a.patch", root / "a.py"
    verdicts = []
    for _ in range(60):
        old = [f"line {chance.randint(0, 5)}\n" for _ in range(chance.randint(1, 25))]
        if chance.random() < 0.2:
            old[-1] = old[-1].rstrip("\n")
        new = [row for row in old if chance.random() > 0.1]
        new.insert(chance.randint(0, len(new)), "new\n")
        rows = difflib.unified_diff(old, new, "a/a.py", "b/a.py", n=chance.choice([1, 3]))
        text = "".join(
            r if r.endswith("\n") else f"{r}\n\\ No newline at end of file\n" for r in rows
        )
        patch.write_text(text)
        there = list(old)
        for _ in range(chance.randint(0, 2)):
            there.insert(chance.randint(0, len(there)), f"other {chance.randint(0, 9)}\n")
        file.write_text("".join(there))
        verdicts.append(git_applies(patch, root))
        assert (patch_problems(patch, root) == []) is verdicts[-1], (text, there)
    assert 15 < sum(verdicts) < 55


def test_new_files_deleted_ones_and_renames(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "old.py").write_text("a\nb\n")
    texts = {
        "new": "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+a\n",
        "again": "--- /dev/null\n+++ b/old.py\n@@ -0,0 +1 @@\n+a\n",
        "gone": "--- a/old.py\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n",
        "half": "--- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
        "move": "diff --git a/old.py b/x.py\nrename from old.py\nrename to x.py\n",
    }
    for name, text in texts.items():
        patch = tmp_path / f"{name}.patch"
        patch.write_text(text)
        assert (patch_problems(patch, root) == []) is git_applies(patch, root), name
        assert (patch_problems(patch, root) == []) is (name in ("new", "gone", "move"))


def test_nothing_of_the_tree_is_run(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    mark = tmp_path / "ran"
    for key in ("filter.x.clean", "filter.x.smudge", "core.fsmonitor", "core.sshCommand"):
        subprocess.run(["git", "-C", root, "config", key, f"touch {mark}"], check=True)
    (root / ".gitattributes").write_text("* filter=x\n")
    (root / "src").mkdir()
    (root / "src/a.py").write_text("import torch\nlocal = ids % 265\n")
    (tmp_path / "a.patch").write_text(PATCH)
    assert patch_problems(tmp_path / "a.patch", root) == []
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../out.py",
        "/etc/passwd",
        "link/a.py",
        ".git/config",
        "x/" * 100_000,
        '"a/\\000"',
        '"a/\\377"',
        "a\0.py",
    ],
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "out.py").write_text("a\n")
    (tmp_path / "a.py").write_text("a\n")
    (root / "link").symlink_to(tmp_path)
    names = (name, name) if name.startswith('"') else (f"a/{name}", f"b/{name}")
    text = "--- {}\n+++ {}\n@@ -1 +1 @@\n-a\n+b\n".format(*names)
    (tmp_path / "a.patch").write_text(text)
    (problem,) = patch_problems(tmp_path / "a.patch", root)
    assert problem.endswith("no such file" if "377" in name else "not a path inside the folder")


def test_a_patch_that_fits_in_too_many_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text("\n" * 100)
    (tmp_path / "a.patch").write_text("--- a/a.py\n+++ b/a.py\n@@ -9,2 +9,2 @@\n \n-\n+x\n")
    assert len(patch_problems(tmp_path / "a.patch", tmp_path)) < 2
    monkeypatch.setattr(patches, "_LIMIT_S", -1.0)
    with pytest.raises(InputError, match="too many places to be tried"):
        patch_problems(tmp_path / "a.patch", tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "no patch at all\n", "--- a/x\n+++ b/x\n@@ -1 +1 @@\nbroken\n", "@@ -1 +1 @@\n-a\n+b\n",
     "--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n-a\n", "rename from a\n@@ -\n", "rename from a"],
)  # fmt: skip
def test_what_is_no_patch_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.patch").write_text(text)
    with pytest.raises(InputError, match=r"a\.patch"):
        patch_problems(tmp_path / "a.patch", tmp_path)
    with pytest.raises(InputError, match="gone"):
        patch_problems(tmp_path / "gone", tmp_path)
