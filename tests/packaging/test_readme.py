"""README and documentation: every command is there, every link leads somewhere."""

import json
import re
import sys
from pathlib import Path

import click
import pytest

from autogaze_cli.cli.main import COMMANDS, cli
from tests.packaging.running import run, run_line


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_readme_and_has_one_help_line(root: Path, readme: str, name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    line = command.get_short_help_str(limit=200)
    # The group's table repeats it, so that `autogaze --help` need not import the commands.
    assert COMMANDS[name][1] == line
    assert line.endswith(".")
    assert f"| [{name}]({name}.md) | {line} |" in (root / "docs/commands/index.md").read_text()
    assert f"[`{name}`](docs/commands/{name}.md)" in readme
    documents = [path.read_text() for path in (root / "docs").rglob("*.md")]
    assert any(re.search(rf"`(autogaze )?{name}\b", text) for text in documents)


def test_readme_is_short_and_starts_with_the_two_commands(readme: str) -> None:
    assert len(readme.splitlines()) < 120
    first_block = re.search(r"^```\w*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert first_block
    assert re.findall(r"make \w+", first_block[1]) == ["make demo", "make test"]


def test_links_lead_to_files(root: Path, project_files: list[str]) -> None:
    broken = []
    for name in project_files:
        if not name.endswith(".md"):
            continue
        page = root / name
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            linked = page.parent / path if path else page
            if not linked.exists():
                broken.append(f"{name}: {target}")
            elif anchor and anchor not in anchors(linked.read_text()):
                broken.append(f"{name}: {target}: no such heading")
    assert broken == []


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A folder where the README's examples find what they read, and may write."""
    for name in ("fixtures", "docs"):
        (tmp_path / name).symlink_to(root / name)
    return tmp_path


@pytest.mark.slow
def test_console_examples_print_what_the_readme_says(readme: str, folder: Path) -> None:
    (block,) = re.findall(r"^```console\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    examples = re.findall(r"^\$ autogaze (.+)\n((?:[^$].*\n)*)", block, re.MULTILINE)
    assert [arguments.split()[0] for arguments, _ in examples] == ["trace", "interframe", "readout"]
    for arguments, expected in examples:
        assert run_line(folder, f"autogaze {arguments}") == expected


@pytest.mark.slow
def test_python_example_runs(root: Path, readme: str, folder: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    done = run(root, folder, sys.executable, "-c", block)
    assert done.returncode == 0, done.stdout
    made, gaze = done.stdout.splitlines()
    assert made == f"{Path('out/python/dog.trace.json')} 16"
    shape = re.fullmatch(r"torch\.Size\(\[1, (\d+)\]\) \[(.+)\]", gaze)
    assert shape
    counts = [int(count) for count in shape[2].split(",")]
    assert (len(counts), sum(counts)) == (16, int(shape[1]))


@pytest.mark.slow
def test_the_picture_shows_what_the_readme_says(readme: str, root: Path, folder: Path) -> None:
    """The tokens and the PSNR of the opening picture, from the command's own metrics."""
    line = "interframe fixtures/dog.mp4 --fps 8 --frames 16 --keyframe-duration 0 --json -o out"
    metrics = json.loads(run_line(folder, f"autogaze -q {line}"))
    selected, everything = re.findall(r"selects (\d+) patches.+ take (\d+)\.", readme)[0]
    assert int(selected) == metrics["positive_fixations"]
    assert int(everything) == 16 * 14 * 14
    assert f"{metrics['average_output_psnr_db']:.1f} dB" in readme
    assert f"{int(selected) / int(everything):.0%}".replace("%", " %") in readme
    assert (root / "docs/images/overview.gif").stat().st_size < 1_000_000


def test_command_reference_is_up_to_date(root: Path, folder: Path) -> None:
    script = str(root / "scripts" / "update_docs.py")
    done = run(root, folder, sys.executable, script, "--check")
    assert (done.stdout, done.returncode) == ("", 0)


def test_changelog_opens_with_what_is_unreleased(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(kinds) <= {"Breaking", "Added", "Changed", "Fixed"}
