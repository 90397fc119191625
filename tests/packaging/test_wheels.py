"""The released wheels: built twice, inspected, described, installed and used without a compiler."""

import json
import os
import platform
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from scripts import build_wheels, check_wheels

pytest.importorskip("ziglang", reason="ziglang is not installed")
pytest.importorskip("lief", reason="lief is not installed")

HOST = "linux-aarch64" if platform.machine() == "aarch64" else "linux-x86_64"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.xdist_group("wheels"),
    pytest.mark.skipif(sys.platform != "linux", reason="installs the Linux wheel"),
]


@pytest.fixture(scope="module")
def twice(
    tmp_path_factory: pytest.TempPathFactory, project_files: list[str]
) -> tuple[list[Path], list[Path]]:
    """The sdist and the host's wheel, built in two folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        first, second = (
            build_wheels.build(tmp_path_factory.mktemp("dist"), [HOST], project_files)
            for _ in range(2)
        )
    return first, second


@pytest.fixture(scope="module")
def wheel(twice: tuple[list[Path], list[Path]]) -> Path:
    return twice[0][1]


def test_built_twice_they_are_the_same_bytes(twice: tuple[list[Path], list[Path]]) -> None:
    first, second = twice
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.suffix for path in first] == [".gz", ".whl"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_any_python_3_takes_it(wheel: Path) -> None:
    _, _, _, tags = parse_wheel_filename(wheel.name)
    assert {(tag.interpreter, tag.abi) for tag in tags} == {("py3", "none")}


def test_the_checks_pass(wheel: Path) -> None:
    assert list(check_wheels.check(wheel)) == []


def test_the_checks_see_a_library_of_another_processor(wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = bytearray(old.read(name))
            if "_draw." in name:
                content[18] = 183 if content[18] == 62 else 62  # e_machine: AArch64, x86-64
            new.writestr(name, bytes(content))
    problems = list(check_wheels.check(other))
    assert len(problems) == 2, problems
    assert "RECORD is wrong about autogaze_cli/visualize/_draw.so" in problems
    assert any(
        problem.startswith("autogaze_cli/visualize/_draw.so: is for") for problem in problems
    )


def test_every_extension_module_has_its_exports_checked(root: Path) -> None:
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    stems = {module["name"].rpartition(".")[2] for module in settings["ext-modules"]}
    assert stems == check_wheels.X86_64 | check_wheels.ARM64


def test_the_bill_of_materials_is_cyclonedx_and_complete(wheel: Path, root: Path) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (name,) = (name for name in names if ".dist-info/sboms/" in name)
        text = archive.read(name).decode()
    assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    files = {one["name"] for one in components if one["type"] == "file"}
    assert files == {name for name in names if name.endswith((".so", ".wasm"))}
    (model,) = (one for one in components if one["type"] == "machine-learning-model")
    catalog = json.loads((root / "autogaze_cli/models/models.json").read_text())["models"][0]
    assert model["hashes"] == [{"alg": "SHA-256", "content": catalog["sha256"]}]
    card = (root / "autogaze_cli/models/kestrel/MODEL_CARD.md").read_text().partition("## Data")[2]
    rows = [line.split(" | ")[0].strip("| ") for line in card.splitlines() if line.startswith("| ")]
    data = [f"{one['group']}/{one['name']}" for one in components if one["type"] == "data"]
    assert sorted(data) == sorted(set(rows[2:]))
    assert {ref["ref"] for ref in model["modelCard"]["modelParameters"]["datasets"]} == {
        f"data:{name}" for name in data
    }
    licences = [one["licenses"][0]["license"] for one in components if one["type"] == "data"]
    assert {"id": "CC-BY-4.0"} in licences
    assert all(one.get("id") or one.get("name") for one in licences)


def test_installed_without_a_compiler_it_has_the_compiled_layers(
    wheel: Path, tmp_path: Path
) -> None:
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq"]
    empty = os.environ | {"PATH": str(tmp_path)}  # no compiler
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, env=empty)
    # The dependencies are those that these tests run with.
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "others.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    code = (
        "from autogaze_cli.model import native; from autogaze_cli.visualize import compiled\n"
        "from autogaze_cli.sources import cell_sums; import autogaze_cli\n"
        "print(autogaze_cli.__file__, native.instruction_set(),"
        " bool(compiled.library()), bool(cell_sums.library()))"
    )
    done = subprocess.run(
        [python, "-I", "-c", code],
        cwd=tmp_path,
        env=empty,
        check=True,
        capture_output=True,
        text=True,
    )
    where, name, drawing, sums = done.stdout.split()
    assert Path(where).is_relative_to(tmp_path)
    assert name in {"avx512", "avx2", "neon", "plain"}
    assert (drawing, sums) == ("True", "True")
