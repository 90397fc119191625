"""The wheel and the sdist: built from a copy of the tracked files, compared with them, and run."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click
import pytest

from autogaze_cli.cli.main import COMMANDS
from autogaze_cli.version import __version__

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("distributions")]


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(root: Path, project_files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An sdist of the tracked files, and a wheel made from the sdist as an installer would.

    There is no compiler: compiled modules are optional, and compiled ones are built, and built
    twice, by `test_wheels.py`.
    """
    source = tmp_path_factory.mktemp("source")
    out = tmp_path_factory.mktemp("dist")
    for name in project_files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)],
        check=True,
        capture_output=True,
        cwd=out,
        env=os.environ | {"CC": "false"},
    )
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def site(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed, and Click, and nothing else at all."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-compile", "--target", str(target), str(built.wheel)], check=True)
    shutil.copytree(Path(click.__file__).parent, target / "click")
    return target


def run(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python that sees the standard library and ``site`` only, from another folder."""
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_folder_of_code_is_a_package(root: Path, project_files: list[str]) -> None:
    folders = {
        str(PurePosixPath(name).parent)
        for name in project_files
        if name.endswith(".py") and name.startswith(("autogaze_cli/", "commands/"))
    }
    packages = {
        "autogaze_cli.commands" if folder == "commands" else folder.replace("/", ".")
        for folder in folders
    }
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings["packages"]) == packages


def test_wheel_equals_the_tree(built: Built, project_files: list[str]) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    expected = {name for name in project_files if name.startswith("autogaze_cli/")}
    expected |= {f"autogaze_cli/{name}" for name in project_files if name.startswith("commands/")}
    assert packed == expected
    assert "autogaze_cli/py.typed" in packed
    assert f"autogaze_cli-{__version__}.dist-info/licenses/LICENSE" in names


def test_sdist_equals_the_tree(built: Built, project_files: list[str]) -> None:
    prefix = f"autogaze_cli-{__version__}/"
    with tarfile.open(built.sdist) as archive:
        names = {m.name.removeprefix(prefix) for m in archive.getmembers() if m.isfile()}
    made_by_the_build = {n for n in names if n.startswith("autogaze_cli.egg-info/")}
    made_by_the_build |= {"PKG-INFO", "setup.cfg"}
    assert names - made_by_the_build == set(project_files) - {".gitignore"}


def test_installed_help_needs_click_and_nothing_else(site: Path, tmp_path: Path) -> None:
    group = run(site, tmp_path, "-m", "autogaze_cli", "--help")
    assert (group.returncode, group.stderr) == (0, "")
    for name in COMMANDS:
        assert name in group.stdout
    version = run(site, tmp_path, str(site / "bin" / "autogaze"), "--version")
    assert version.returncode == 0, version.stderr
    assert __version__ in version.stdout


HELP = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv = ["autogaze", name, "--help"]
    try:
        runpy.run_module("autogaze_cli", run_name="__main__")
    except SystemExit as ended:
        print(name, ended.code)
"""


def test_installed_help_of_every_command_equals_the_checkout(
    root: Path, site: Path, tmp_path: Path
) -> None:
    arguments = ["-c", HELP, *COMMANDS]
    installed = run(site, tmp_path, *arguments)
    assert (installed.returncode, installed.stderr) == (0, "")
    assert all(f"\n{name} 0\n" in installed.stdout for name in COMMANDS)
    checkout = subprocess.run(
        [sys.executable, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    assert installed.stdout == checkout.stdout
