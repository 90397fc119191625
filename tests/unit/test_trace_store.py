"""The reference's trace store: inference spec 10, with the clamping of 5.1 and the sets of 5.3."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save, save_file

from autogaze_cli.errors import ConfigError, FormatError
from autogaze_cli.reading import DOCUMENT_VARIABLE
from autogaze_cli.trace import FORMATS, read_trace, write_trace

Tensors = dict[str, NDArray[Any]]


def tensors(dtype: type[np.floating[Any]] = np.float32) -> Tensors:
    """Two clips of two frames of three points; the last frame of clip 1 is all placeholders."""
    placeholder = [0.5, 0.5]
    fixations = [
        [[[0.25, 0.75], [1.5, -0.5], placeholder], [[0, 0], [1, 1], [0.5, 0.5]]],
        [[[0.125, 0.5], placeholder, [0.5, 0.125]], [placeholder] * 3],
    ]
    scales = [[[0.125, 2.0, 0.25], [0, 0.5, 0.5]], [[0.5, 0.25, 0.25], [0.25] * 3]]
    confidences = [[[0.5, 2.0, 0], [0.25, 0.5, 1]], [[0.75, 0, 0.5], [-1, 0, 0]]]
    stops = [[-0.5, 0.25], [1.5, 1]]
    return {
        "fixations": np.array(fixations, dtype),
        "scales": np.array(scales, dtype),
        "confidences": np.array(confidences, dtype),
        "stop_probabilities": np.array(stops, dtype),
        "visibility_maps": np.zeros((2, 2, 4, 4), np.uint8),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_first_clip(dtype: type[np.floating[Any]], tmp_path: Path) -> None:
    path = tmp_path / "store.safetensors"
    save_file(tensors(dtype), path)
    trace = read_trace(path)
    assert trace.offsets.tolist() == [0, 2, 5]
    assert trace.fixations.x.tolist() == [0.25, 1.0, 0.0, 1.0, 0.5]
    assert trace.fixations.y.tolist() == [0.75, 0.0, 0.0, 1.0, 0.5]
    extents = [0.125, 1.0, float(np.float32(1e-6)), 0.5, 0.5]
    assert trace.fixations.width.tolist() == extents
    assert trace.fixations.height.tolist() == extents
    assert trace.fixations.confidence.tolist() == [0.5, 1.0, 0.25, 0.5, 1.0]
    assert trace.fixations.slot.tolist() == [0, 1, 0, 1, 2]
    assert trace.fixations.grid.tolist() == [0] * 5
    assert trace.fixations.token.tolist() == [-1] * 5
    assert trace.stop_probability.tolist() == [0.0, 0.25]
    assert trace.num_gazing.tolist() == [[3], [3]]
    assert trace.times == (Fraction(0), Fraction(1))
    assert (trace.header.mask_source, trace.header.source_width) == ("trace-store", 0)


def test_another_clip_and_its_placeholders(tmp_path: Path) -> None:
    path = tmp_path / "store.safetensors"
    save_file(tensors(), path)
    trace = read_trace(path, clip=1)
    assert trace.offsets.tolist() == [0, 2, 2]
    assert trace.fixations.slot.tolist() == [0, 2]
    assert trace.stop_probability.tolist() == [1.0, 1.0]
    for clip in (-1, 2):
        with pytest.raises(ConfigError, match=f"has no clip {clip}"):
            read_trace(path, clip=clip)


@pytest.mark.parametrize("format", FORMATS)
def test_an_imported_trace_is_written_like_any_other(format: str, tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "store")
    trace = read_trace(tmp_path / "store")
    write_trace(trace, tmp_path / "x", format)
    again = read_trace(tmp_path / "x")
    assert again.header == trace.header
    assert again.fixations.slot.tolist() == trace.fixations.slot.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scales": None},
            r"neither a trace \(no header\) nor a trace store \(no tensor 'scales'\)",
        ),
        ({"scales": np.zeros((2, 2, 3))}, "dtype of scales is 'float64', not float32 or float16"),
        ({"confidences": np.zeros((2, 2, 3), np.int32)}, "dtype of confidences is 'int32'"),
        ({"scales": np.zeros((2, 6), np.float32)}, r"shape of scales is \(2, 6\), not \[clips"),
        (
            {"fixations": np.zeros((2, 2, 3, 3), np.float32)},
            r"shape of fixations is \(2, 2, 3, 3\)",
        ),
        (
            {"fixations": np.zeros((2, 2, 4, 2), np.float32)},
            r"shape of fixations is \(2, 2, 4, 2\)",
        ),
        ({"confidences": np.zeros((2, 2, 2), np.float32)}, r"shape of confidences is \(2, 2, 2\)"),
        ({"stop_probabilities": np.zeros(4, np.float32)}, r"shape of stop_probabilities is \(4,\)"),
        ({"confidences": np.full((2, 2, 3), np.nan, np.float32)}, "confidences holds NaN"),
        ({"scales": np.full((2, 2, 3), np.inf, np.float16)}, "scales holds NaN or infinity"),
    ],
)
def test_refusals(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "store.safetensors"
    changed = {name: t for name, t in (tensors() | change).items() if t is not None}
    save_file(changed, path)
    with pytest.raises(FormatError, match=f"store.safetensors: {message}"):
        read_trace(path)


def test_bfloat16_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.safetensors"
    whole = save(tensors(np.float16))
    end = 8 + int.from_bytes(whole[:8], "little")
    head = whole[8:end].replace(b'"F16"', b'"BF16"')  # as many bytes an element
    path.write_bytes(len(head).to_bytes(8, "little") + head + whole[end:])
    with pytest.raises(FormatError, match=r"dtype of .* is 'BF16', not one of"):
        read_trace(path)


def test_visibility_maps_are_cells(tmp_path: Path) -> None:
    path = tmp_path / "store.safetensors"
    maps = np.zeros((2, 3, 2, 4), np.float16)
    maps[1, 0, 1, 2], maps[1, 0, 0, 3], maps[1, 2, 1, 0], maps[1, 1, 0, 0] = 0.5, 7, 0.25, -1
    save_file({"visibility_maps": maps}, path)
    trace = read_trace(path, clip=1, maps=True)
    assert trace.offsets.tolist() == [0, 2, 2, 3]
    found = trace.fixations
    assert found.x.tolist() == [0.875, 0.625, 0.125]
    assert found.y.tolist() == [0.25, 0.75, 0.75]
    assert set(found.width.tolist()) == {0.25}
    assert set(found.height.tolist()) == {0.5}
    assert found.confidence.tolist() == [1.0, 0.5, 0.25]
    assert found.token.tolist() == [3, 6, 4]
    assert found.slot.tolist() == [0, 1, 0]
    assert found.grid.tolist() == [0, 0, 0]
    assert trace.stop_probability.tolist() == [0, 0, 0]
    with pytest.raises(FormatError, match="no tensor 'fixations'") as error:
        read_trace(path)
    assert error.value.hint == "read its visibility maps with --trace-maps"
    with pytest.raises(ConfigError, match="has no clip 2"):
        read_trace(path, clip=2, maps=True)
    save_file({"visibility_maps": np.ones((1, 2, 3, 3), np.float32), "scales": maps}, path)
    assert read_trace(path, maps=True).fixations.grid.tolist() == [3] * 18


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "dtype of visibility_maps is 'uint8', not float32"),
        ({"visibility_maps": None}, r"no tensor 'visibility_maps'"),
        ({"visibility_maps": np.ones((2, 2, 4), np.float32)}, "shape of visibility_maps is"),
        ({"visibility_maps": np.ones((2, 5, 2, 2), np.float32)}, "shape of stop_probabilities is"),
        ({"visibility_maps": np.full((2, 2, 2, 2), np.inf, np.float32)}, "holds NaN or infinity"),
    ],
)
def test_maps_that_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "store.safetensors"
    save_file({n: t for n, t in (tensors() | change).items() if t is not None}, path)
    with pytest.raises(FormatError, match=message):
        read_trace(path, maps=True)


def test_how_many_fixations_a_clip_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.safetensors"
    save_file({"visibility_maps": np.ones((2, 2, 32, 32), np.float16)}, path)
    monkeypatch.setenv(DOCUMENT_VARIABLE, str(16 * 2048))
    assert len(read_trace(path, clip=1, maps=True).fixations) == 2048
    monkeypatch.setenv(DOCUMENT_VARIABLE, str(16 * 2048 - 1))
    with pytest.raises(FormatError, match="clip of 2048 fixations, more than 2047") as caught:
        read_trace(path, maps=True)
    assert DOCUMENT_VARIABLE in str(caught.value.hint)
    points = {
        "fixations": np.full((1, 2, 1024, 2), 0.5, np.float16),
        "scales": np.full((1, 2, 1024), 0.5, np.float16),
        "confidences": np.ones((1, 2, 1024), np.float16),
        "stop_probabilities": np.zeros((1, 2), np.float16),
    }
    save_file(points, path)
    with pytest.raises(FormatError, match="clip of 2048 fixations"):
        read_trace(path)
    points["confidences"][0, 0, 0] = 0  # a placeholder
    save_file(points, path)
    assert len(read_trace(path).fixations) == 2047
