"""The files of the repository: clean text, modest sizes, and fixtures of known origin."""

import hashlib
import json
import re
import tomllib
from pathlib import Path

import pytest

# In pieces, so that this file passes its own test.
PLACES = [
    "(?<![a-z])/" + "work/",
    "/tmp/" + "venv",
    "/" + "root/",
    "/" + "home/[a-z]",
    "/opt/[a-z]",
]
HOSTS = [r"pypi\." + "org", "python" + "hosted", r"download\.py" + "torch"]
FORBIDDEN = {
    "a path of somebody's machine": re.compile("|".join(PLACES)),
    "a package host": re.compile("|".join(HOSTS)),
    "a conflict marker": re.compile(r"^(<{7} |>{7} )", re.MULTILINE),
}
BUNDLED_WEIGHTS = r"autogaze_cli/models/[^/]+/model\.safetensors"
# The animation of the README; and reference data that cannot be smaller: a checkpoint of the
# published shapes with the narrowest layers, recordings of it that need four tiles or four clips.
LARGE = {
    "docs/images/overview.gif": 400_000,
    "fixtures/encoders/siglip-tiny-p16/model.safetensors": 856_000,
    "fixtures/parity-tiny/model.safetensors": 701_000,
    "fixtures/parity/tiny-b1-t2-tiles392/frames.npz": 501_000,
    "fixtures/parity/tiny-b4-t4-stop/frames.npz": 663_000,
    "fixtures/parity/tiny-b4-t4-stop/outputs.safetensors": 384_000,
}


@pytest.fixture(scope="module")
def texts(root: Path, project_files: list[str]) -> dict[str, str]:
    """The text files by path; what is not UTF-8 is no text."""
    found = {}
    for name in project_files:
        try:
            found[name] = (root / name).read_bytes().decode()
        except UnicodeDecodeError:
            continue
    return found


def test_text_is_clean(texts: dict[str, str]) -> None:
    assert "LICENSE" in texts
    assert "autogaze_cli/version.py" in texts
    problems = []
    for name, text in texts.items():
        if "\r" in text:
            problems.append(f"{name}: carriage returns")
        if text and not text.endswith("\n") and not name.startswith("fixtures/"):
            problems.append(f"{name}: no newline at the end")
        if re.search(r"[ \t]+$", text, re.MULTILINE) and not name.startswith("fixtures/"):
            problems.append(f"{name}: spaces at the end of a line")
    assert problems == []


def test_text_names_no_machine_and_no_package_host(texts: dict[str, str]) -> None:
    found = [
        f"{name}: {what}: {match.group()!r}"
        for name, text in texts.items()
        for what, pattern in FORBIDDEN.items()
        if (match := pattern.search(text))
    ]
    assert found == []


def test_the_map_names_every_room(root: Path, texts: dict[str, str]) -> None:
    """Each module and folder of the package has a row, and no row is of one that has gone."""
    rows = re.findall(r"^\| (`.*?) \|", texts["docs/architecture.md"], re.MULTILINE)
    named = {place.removeprefix("autogaze_cli/") for row in rows for place in row.split("`")[1::2]}
    rooms = {
        path.name + "/" * path.is_dir()
        for path in (root / "autogaze_cli").iterdir()
        if path.suffix in ("", ".py") and not path.name.startswith("_")
    }
    assert named - {"commands/"} == rooms - {"version.py"}


def test_toml_files_parse(texts: dict[str, str]) -> None:
    for name in texts:
        if name.endswith(".toml"):
            tomllib.loads(texts[name])


def test_files_are_small(root: Path, project_files: list[str]) -> None:
    sizes = {name: (root / name).stat().st_size for name in project_files}
    weights = {n: 8_000_000 for n in sizes if re.fullmatch(BUNDLED_WEIGHTS, n)}
    too_large = {n: s for n, s in sizes.items() if s > (weights | LARGE).get(n, 300_000)}
    assert too_large == {}
    fixtures = sum(size for name, size in sizes.items() if name.startswith("fixtures/"))
    assert fixtures < 5_000_000
    images = sum(size for name, size in sizes.items() if name.startswith("docs/images/"))
    assert images < 1_200_000


def test_manifest_describes_every_fixture(root: Path, project_files: list[str]) -> None:
    folder = root / "fixtures"
    entries = json.loads((folder / "MANIFEST.json").read_text())["files"]
    described = {entry["path"]: entry["sha256"] for entry in entries}
    assert len(described) == len(entries)
    assert described == {
        name.removeprefix("fixtures/"): hashlib.sha256((root / name).read_bytes()).hexdigest()
        for name in project_files
        if name.startswith("fixtures/") and name != "fixtures/MANIFEST.json"
    }
    for entry in entries:
        assert {"what", "origin", "licence", "made"} <= entry.keys()
        assert all(entry.values())


def test_licence_is_apache_2(texts: dict[str, str]) -> None:
    # The standard text but for its first blank line and the placeholder of the copyright line.
    text = texts["LICENSE"]
    assert "Copyright 2026 The autogaze authors\n" in text
    standard = "\n" + text.replace("2026 The autogaze authors", "[yyyy] [name of copyright owner]")
    assert hashlib.sha256(standard.encode()).hexdigest() == (
        "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    )
