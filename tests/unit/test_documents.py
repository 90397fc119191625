"""Documents that somebody else wrote: their schemas are current, and odd ones are refused."""

from __future__ import annotations

import json
import struct
import time
import tomllib
import tracemalloc
import zipfile
from pathlib import Path
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from msgspec import Meta, Struct

from autogaze_cli.errors import ConfigError, FormatError
from autogaze_cli.model.config import GazeConfig
from autogaze_cli.reading import DOCUMENT_VARIABLE, checked, parse_json
from autogaze_cli.readout import ReadoutSettings, readout_trace
from autogaze_cli.trace import is_trace, read_trace
from scripts.write_schemas import DOCUMENTS, FOLDER, OPTIONS, text_of

ROOT = Path(__file__).parents[2]
TRACE = ROOT / "fixtures/traces/v1.trace.json"
SEEDS = {
    "trace": TRACE,
    "readout": ROOT / "tests/golden/v1.readout.json",
    "bundled-models": ROOT / "autogaze_cli/models/models.json",
    "model-config": ROOT / "autogaze_cli/models/kestrel/config.json",
    "preprocessor-config": ROOT / "autogaze_cli/models/kestrel/preprocessor_config.json",
    "encoder-config": ROOT / "fixtures/encoders/siglip-tiny-p16/config.json",
}


@pytest.mark.parametrize("name", [*DOCUMENTS, OPTIONS])
def test_schemas_are_those_of_the_types(name: str) -> None:
    text = (FOLDER / f"{name}.schema.json").read_text()
    assert text == text_of(name), "run scripts/write_schemas.py"
    Draft202012Validator.check_schema(json.loads(text))
    if name in SEEDS:
        Draft202012Validator(json.loads(text)).validate(json.loads(SEEDS[name].read_text()))


def test_a_file_of_options_has_a_schema() -> None:
    page = (ROOT / "docs/config.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    validator = Draft202012Validator(json.loads((FOLDER / "options.schema.json").read_text()))
    assert list(validator.iter_errors(tomllib.loads(example))) == []
    wrong = 'fps = true\nframes = 0\ncolour = 1\n[render-assets]\nmode = "tyled"\n[trace]\nmute = 1'
    errors = validator.iter_errors(tomllib.loads(wrong))
    assert sorted("/".join(map(str, error.path)) for error in errors) == [
        "", "fps", "frames", "render-assets/mode", "trace",
    ]  # fmt: skip


def test_a_repeated_key_is_found_among_many() -> None:
    text = "{" + "".join(f'"{number}": 0, ' for number in range(200_000)) + '"199999": 1}'
    with pytest.raises(FormatError, match=r"^the file has '199999' twice$"):
        parse_json(text, "the file")  # each key compared with each would take minutes


class _Inner(Struct):
    sizes: list[Annotated[int, Meta(ge=1, le=9)]] = []


class _Outer(Struct, forbid_unknown_fields=True):
    inner: _Inner
    ratio: Annotated[float, Meta(gt=0, lt=1)] | None = None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "it is [], not an object"),
        ({}, "it has no 'inner'"),
        ({"inner": {}, "a": 1}, "it has an unknown 'a'"),
        ({"inner": {"sizes": [1, 0]}}, "inner.sizes[1] is 0, not an integer of at least 1"),
        ({"inner": {"sizes": [10]}}, "inner.sizes[0] is 10, not an integer of at most 9"),
        ({"inner": {"sizes": [True]}}, "inner.sizes[0] is True, not an integer"),
        ({"inner": {}, "ratio": 0}, "ratio is 0, not a number above 0"),
        ({"inner": {}, "ratio": float("nan")}, "ratio is nan, not a number above 0"),
        ({"inner": {}, "ratio": "x"}, "ratio is 'x', not a number or null"),
    ],
)
def test_a_message_has_the_path_the_value_and_the_rule(value: Any, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        checked(value, _Outer, "it")
    assert str(caught.value) == message


def npz(path: Path, **members: bytes) -> Path:
    """The trace of the fixtures with other members, compressed."""
    with (
        zipfile.ZipFile(TRACE.with_suffix(".npz")) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, members.get(name.removesuffix(".npy"), old.read(name)))
    return path


def npy(descr: str, shape: str, data: bytes) -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (npy("'<f4'", "(1000000000,)", b""), r"shape of x is \(1000000000,\), not that of 0 bytes"),
        (npy("'<f4'", "()", bytes(4)), r"shape of x is \(\), not of 1 dimensions"),
        (npy("'<i0'", "(4,)", b""), "x is not an array of numbers or text"),
        (npy("'|O'", "(4,)", bytes(32)), "x is not an array of numbers or text"),
        (npy("__import__('os').getcwd()", "(4,)", b""), "x is not an array of numbers or text"),
        (npy("'<f4'", "(" * 10_000 + "4,)", b""), "x is not an array of numbers or text"),
        (npy("'<f4'", "(" + "9" * 20_000 + ",)", b""), "x is not an array of numbers or text"),
    ],
)
def test_arrays_that_are_none(array: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message):
        read_trace(npz(tmp_path / "x.npz", x=array))


def test_a_small_file_is_not_unpacked_to_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DOCUMENT_VARIABLE, str(1 << 20))
    bomb = npz(tmp_path / "x.npz", x=npy("'<f4'", "(4000000,)", bytes(16_000_000)))
    assert bomb.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"has 160\d+ bytes, more than 1048576"):
        read_trace(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_the_limit_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DOCUMENT_VARIABLE, "100")
    for form in ("json", "csv", "npz", "safetensors"):
        with pytest.raises(FormatError, match=r"bytes, more than \d+"):
            read_trace(TRACE.with_suffix(f".{form}"))
    monkeypatch.setenv(DOCUMENT_VARIABLE, "much")
    with pytest.raises(ConfigError, match=f"{DOCUMENT_VARIABLE} is 'much', not a number"):
        read_trace(TRACE)
    assert is_trace(TRACE)
    assert not is_trace("/dev/zero")


def test_gaze_that_is_nearly_all_padding_is_not_laid_out(tmp_path: Path) -> None:
    document = json.loads(TRACE.read_text())
    for frame in document["frames"]:
        frame["num_gazing"] = [2**31 - 1] * document["tile_count"]
    (tmp_path / "x.json").write_text(json.dumps(document))
    settings = ReadoutSettings(clip_height=224, clip_width=224, emit=("gazing-info",))
    with pytest.raises(ConfigError, match="positions for 4 fixations"):
        readout_trace(read_trace(tmp_path / "x.json"), settings)


@pytest.mark.parametrize(
    ("key", "value"),
    [("depth", 10**6), ("num_hidden_layers", 10**6), ("scales", "32+" * 10**6 + "1"),
     ("scales", list(range(1, 10**6))), ("kernel_size", 10**9)],
)  # fmt: skip
def test_sizes_of_a_model_are_bounded_before_anything_is_built(key: str, value: Any) -> None:
    config = json.loads(SEEDS["model-config"].read_text())
    gaze = config["gaze_model_config"]
    places = {
        "depth": gaze["vision_model_config"],
        "kernel_size": gaze["vision_model_config"],
        "num_hidden_layers": gaze["gaze_decoder_config"],
    }
    places.get(key, config)[key] = value
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=key) as caught:
        GazeConfig.from_mapping(config)
    assert time.monotonic() - begin < 1
    assert len(str(caught.value)) < 300
