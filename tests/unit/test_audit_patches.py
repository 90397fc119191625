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


HEADS = {
    "mode": "diff --git a/x.txt b/x.txt\nold mode 100644\nnew mode 100755\n",
    "mode of none": "diff --git a/z.txt b/z.txt\nold mode 100644\nnew mode 100755\n",
    "copy": "diff --git a/x.txt b/y.txt\nsimilarity index 100%\ncopy from x.txt\ncopy to y.txt\n",
    "copy of none": "diff --git a/z b/y\nsimilarity index 100%\ncopy from z\ncopy to y\n",
    "move": "diff --git a/x.txt b/y\nsimilarity index 100%\nrename from x.txt\nrename to y\n",
    "move onto": "diff --git a/x.txt b/void\nrename from x.txt\nrename to void\n",
    "move to a folder": "diff --git a/x.txt b/sub\nrename from x.txt\nrename to sub\n",
    "swap": "diff --git a/x.txt b/void\nsimilarity index 100%\nrename from x.txt\nrename to void\n"
    "diff --git a/void b/x.txt\nsimilarity index 100%\nrename from void\nrename to x.txt\n",
    "new": "diff --git a/new b/new\nnew file mode 100644\nindex 0000000..e69de29\n",
    "new again": "diff --git a/void b/void\nnew file mode 100644\nindex 0000000..e69de29\n",
    "gone": "diff --git a/void b/void\ndeleted file mode 100644\nindex e69de29..0000000\n",
    "gone with text": "diff --git a/x.txt b/x.txt\ndeleted file mode 100644\n",
    "quoted": 'diff --git "a/\\303\\251" "b/\\303\\251"\nold mode 100644\nnew mode 100755\n',
    "in two steps": "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n"
    "@@ -0,0 +1 @@\n+1\ndiff --git a/new b/new\n--- a/new\n+++ b/new\n@@ -1 +1 @@\n-1\n+2\n",
}
APPLY = {
    "mode",
    "copy",
    "move",
    "move to a folder",
    "swap",
    "new",
    "gone",
    "quoted",
    "in two steps",
}


@pytest.mark.parametrize("name", HEADS)
def test_changes_of_a_name_or_a_mode(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "x.txt").write_text("one\n")
    for empty in ("void", "é"):
        (root / empty).touch()
    patch = tmp_path / "a.patch"
    patch.write_text(HEADS[name])
    assert git_applies(patch, root) is (name in APPLY)
    assert (patch_problems(patch, root) == []) is (name in APPLY)


@pytest.mark.parametrize(
    "text",
    [
        "--- a/x.txt\n+++ b/x.txt\n",
        "diff --git a/x.txt b/x.txt\n--- a/x.txt\n+++ b/x.txt\n",
        "diff --git a/x.txt b/x.txt\nindex e69de29..0000000 100644\n",
        "diff --git a/x.txt b/x.txt\nindex 1..2\nBinary files a/x.txt and b/x.txt differ\n",
        "diff --git a/x.txt b/y.txt\nold mode 100644\nnew mode 100755\n",
        f"diff --git a/z b/z\nindex 1..2 100644\ndiff --git a/src/a.py b/src/a.py\n{PATCH}",
    ],
)
def test_a_file_of_which_nothing_changes_is_no_patch(tmp_path: Path, text: str) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("import torch\nlocal = ids % 265\n")
    (tmp_path / "x.txt").write_text("one\n")
    (tmp_path / "a.patch").write_text(text)
    assert not git_applies(tmp_path / "a.patch", tmp_path)
    with pytest.raises(InputError, match=r"line [12]: a file without a hunk"):
        patch_problems(tmp_path / "a.patch", tmp_path)


def test_what_git_writes_of_moved_files(tmp_path: Path) -> None:
    chance = random.Random(2)
    verdicts, written = [], b""
    for number in range(12):
        root = tmp_path / str(number)
        root.mkdir()
        git = ["git", "-C", str(root)]
        subprocess.run([*git, "init", "-q"], check=True)
        for name in "abc":
            (root / name).write_text("".join(f"{name}{n}\n" for n in range(20)))
        subprocess.run([*git, "add", "."], check=True)
        tree = subprocess.run(
            [*git, "write-tree"], check=True, capture_output=True, text=True
        ).stdout.strip()
        before = {path.name: path.read_text() for path in root.iterdir() if path.is_file()}
        for name in chance.sample("abc", 2):
            file = root / name
            what = chance.choice(["move", "copy", "mode", "delete"])
            if what == "mode":
                file.chmod(0o755)
            if what in ("copy", "move"):
                rows = file.read_text().splitlines(keepends=True)
                rows[chance.randrange(20)] = chance.choice(["changed\n", rows[0]])
                (root / f"{name}2").write_text("".join(rows))
            if what == "copy" and chance.random() < 0.5:
                file.write_text(file.read_text() + "more\n")
            if what in ("move", "delete"):
                file.unlink()
        subprocess.run([*git, "add", "-A"], check=True)
        made = subprocess.run(
            [*git, "diff", "--cached", "-M", "-C", "--find-copies-harder", tree],
            check=True, capture_output=True,
        ).stdout  # fmt: skip
        patch = tmp_path / f"{number}.patch"
        patch.write_bytes(made)
        written += made
        then = tmp_path / f"then{number}"
        then.mkdir()
        for name, text in before.items():
            if chance.random() < 0.9:
                (then / name).write_text(text)
        verdicts.append(git_applies(patch, then))
        assert (patch_problems(patch, then) == []) is verdicts[-1], made.decode()
    assert 4 < sum(verdicts) < 12
    for kind in (b"rename from", b"copy from", b"new mode", b"deleted file mode"):
        assert kind in written


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
