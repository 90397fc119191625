"""Composition on tensors: numpy's bytes for every style, geometry, scale, mode and keyframe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.visualize.compositor import Compositor, FrameView
from autogaze_cli.visualize.panels import COLOURS, fill_colour, mix
from autogaze_cli.visualize.psnr import psnr_of, squared_error
from autogaze_cli.visualize.rects import Image
from autogaze_cli.visualize.settings import (
    GEOMETRIES,
    MASK_VISUALIZATIONS,
    VISUALIZATION_MODES,
    Visualization,
)
from autogaze_cli.visualize.tensor import TensorCompositor, TensorView
from tests.golden.visualize_vectors import document, fixations, full_size, panels

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there"),
        ],
    ),
]
every_device = pytest.mark.parametrize("device", DEVICES)

LETTERS = {bytes([0, 0, 0, 255]): "."}
for _letter, _colour in zip("OGBP", COLOURS.values(), strict=True):
    LETTERS[bytes([*_colour, 255])] = _letter
    LETTERS[bytes([*fill_colour(_colour), 255])] = _letter.lower()


def free_cells(rng: np.random.Generator, n: int) -> Fixations:
    """Overlapping cells anywhere: some inactive, some of unknown grid, some at the edges."""
    grid = rng.choice([0, 1, 2, 4, 7, 14, 30], n)
    side = np.maximum(grid, 2)
    return Fixations.from_columns(
        {
            "x": rng.choice([0, 1, *rng.random(9)], n),
            "y": rng.choice([0, 1, *rng.random(9)], n),
            "width": rng.random(n) / side + 1e-6,
            "height": rng.random(n) / side + 1e-6,
            "confidence": rng.integers(0, 4, n) / 3,
            "grid": grid,
        }
    )


def tiled_cells(rng: np.random.Generator, n: int) -> Fixations:
    """Cells of the four scales in 3 x 2 tiles, some of them twice."""
    grid = rng.choice([2, 4, 7, 14], n)
    across, down = 3 * grid, 2 * grid
    return Fixations.from_columns(
        {
            "x": (rng.integers(0, across) + 0.5) / across,
            "y": (rng.integers(0, down) + 0.5) / down,
            "width": 1 / across,
            "height": 1 / down,
            "grid": grid,
        }
    )


def video(rng: np.random.Generator) -> Iterator[tuple[Image, Fixations]]:
    """Frames and their cells; odd sizes, and sizes that change, with and without alpha."""
    for shape, cells in (
        ((33, 71, 3), tiled_cells(rng, 40)),
        ((33, 71, 3), free_cells(rng, 40)),
        ((33, 71, 3), Fixations.empty()),
        ((33, 71, 3), tiled_cells(rng, 300)),
        ((33, 71, 4), free_cells(rng, 9)),
        ((33, 71, 4), tiled_cells(rng, 12)),
        ((64, 30, 4), free_cells(rng, 60)),
        ((1, 1, 3), free_cells(rng, 5)),
        ((1, 1, 3), free_cells(rng, 5)),
        ((2, 57, 3), free_cells(rng, 30)),
    ):
        yield rng.integers(0, 256, shape, np.uint8), cells


def assert_same(found: TensorView, wanted: FrameView, device: str) -> None:
    for name in ("output", "mask_panel"):
        tensor, array = getattr(found, name), getattr(wanted, name)
        assert (tensor.device.type, tensor.dtype) == (device, torch.uint8), name
        np.testing.assert_array_equal(tensor.cpu().numpy(), array, name)
    np.testing.assert_array_equal(found.mask.cpu().numpy(), wanted.union.mask())
    for name in ("keyframe", "updated_pixel_count", "mask_ratio", "update_ratio"):
        assert getattr(found, name) == getattr(wanted, name), name
    error, height, width = found.squared_error, *wanted.frame.shape[:2]
    assert (error.device.type, error.dtype, error.shape) == (device, torch.int64, ())
    assert int(error) == squared_error(wanted.frame, wanted.output)
    assert psnr_of(int(error), height * width) == wanted.psnr_db
    assert (found.psnr_db.device.type, found.psnr_db.dtype) == (device, torch.float64)
    assert float(found.psnr_db) == pytest.approx(wanted.psnr_db, rel=1e-14)


@every_device
@pytest.mark.parametrize("style", MASK_VISUALIZATIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("mode", VISUALIZATION_MODES)
@pytest.mark.parametrize("scale", [-1, 0.4, 1, 1.7])
def test_a_video_is_composed_as_by_numpy(
    device: str, style: str, geometry: str, mode: str, scale: float
) -> None:
    rng = np.random.default_rng(7)
    for duration, alpha in ((0, 0.38), (1, 0.5), (3, 1.5)):
        settings = Visualization(
            mask_visualization=style,
            mask_geometry=geometry,
            visualization_mode=mode,
            mask_cell_scale=scale,
            keyframe_duration=duration,
            blend_alpha=alpha,
        )
        tensors, arrays = TensorCompositor(settings), Compositor(settings)
        for frame, cells in video(rng):
            found = tensors.step(torch.from_numpy(frame).to(device), cells)
            assert_same(found, arrays.step(frame, cells), device)


@every_device
@pytest.mark.parametrize("style", MASK_VISUALIZATIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_full_size_in_any_layout(device: str, style: str, geometry: str) -> None:
    """A frame of a planar clip, seen as rows of pixels, and the cells of visualization spec 8.9."""
    clip = torch.randint(0, 256, (2, 3, 1080, 1920), dtype=torch.uint8).to(device)
    settings = Visualization(
        mask_visualization=style, mask_geometry=geometry, visualization_mode="interframe"
    )
    tensors, arrays = TensorCompositor(settings), Compositor(settings)
    for planes in clip:
        frame = planes.permute(1, 2, 0)
        wanted = arrays.step(np.ascontiguousarray(frame.cpu().numpy()), full_size())
        assert_same(tensors.step(frame, full_size()), wanted, device)


@every_device
@pytest.mark.parametrize(
    ("settings", "rows"), panels(), ids=lambda v: str(v["id"]) if "id" in v else ""
)
def test_panel_as_drawn(device: str, settings: dict[str, Any], rows: list[str]) -> None:
    width, height = settings["wh"]
    view = TensorCompositor(
        Visualization(mask_visualization=settings["mode"], mask_geometry=settings["geometry"])
    ).step(
        torch.full((height, width, 3), 77, dtype=torch.uint8, device=device),
        fixations(settings["pts"]),
    )
    panel = view.mask_panel.cpu().numpy()
    assert ["".join(LETTERS[p.tobytes()] for p in row) for row in panel] == rows


@every_device
@pytest.mark.parametrize(
    "sequence", document("visualize_interframe.json"), ids=lambda s: str(s["id"])
)
def test_interframe_sequence(device: str, sequence: dict[str, Any]) -> None:
    duration = sequence["kd"]

    def settings() -> Visualization:
        return Visualization(visualization_mode="interframe", keyframe_duration=duration)

    compositor = TensorCompositor(settings())
    for frame in sequence["frames"]:
        duration = frame.get("set_kd", duration)
        if "toggle" in frame:
            compositor = TensorCompositor(settings())
        compositor.settings = settings()
        width, height = frame["wh"]
        source = torch.zeros((height, width, 3), dtype=torch.uint8, device=device)
        source[..., 0] = torch.tensor(frame["r"]).reshape(height, width)
        view = compositor.step(source, fixations(frame["pts"]))
        source[:] = 99  # the caller's buffer; the output must not share it
        assert view.output[..., 0].reshape(-1).tolist() == frame["out"]
        assert (view.mask_ratio, view.update_ratio) == (frame["mask"], frame["update"])
        assert view.keyframe == frame["key"]


@every_device
@pytest.mark.parametrize("alpha", [-0.5, 0, 0.1, 0.25, 0.38, 0.5, 0.55, 1, 2])
def test_full_blend_of_every_byte(device: str, alpha: float) -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(4).reshape(1, 256, 4)
    whole = fixations([{"xywh": [0.5, 0.5, 1, 1], "grid": 2}])
    view = TensorCompositor(Visualization(blend_alpha=alpha)).step(
        torch.from_numpy(ramp).to(device), whole
    )
    wanted = mix(ramp, 255, alpha)
    wanted[..., 3] = ramp[..., 3]
    np.testing.assert_array_equal(view.output.cpu().numpy(), wanted)


@pytest.mark.parametrize("style", MASK_VISUALIZATIONS)
@pytest.mark.parametrize("mode", VISUALIZATION_MODES)
def test_nothing_is_read_back(style: str, mode: str) -> None:
    """A meta tensor has no values: whatever needs one on the host raises."""
    compositor = TensorCompositor(Visualization(mask_visualization=style, visualization_mode=mode))
    for _ in range(2):
        frame = torch.empty((90, 160, 3), dtype=torch.uint8, device="meta")
        view = compositor.step(frame, full_size())
        for tensor in (view.output, view.mask, view.mask_panel, view.squared_error, view.psnr_db):
            assert tensor.is_meta
        assert 0 < view.mask_ratio < 1


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there")
@pytest.mark.parametrize("style", MASK_VISUALIZATIONS)
@pytest.mark.parametrize("mode", VISUALIZATION_MODES)
def test_the_host_never_waits_for_the_gpu(style: str, mode: str) -> None:
    compositor = TensorCompositor(Visualization(mask_visualization=style, visualization_mode=mode))
    frame = torch.zeros((90, 160, 3), dtype=torch.uint8, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            view = compositor.step(frame, full_size())
            assert view.mask_panel.is_cuda
            assert view.mask.is_cuda
            assert view.psnr_db.is_cuda
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "frame",
    [
        torch.zeros((0, 4, 3), dtype=torch.uint8),
        torch.zeros((4, 4, 2), dtype=torch.uint8),
        torch.zeros((4, 4), dtype=torch.uint8),
        torch.zeros((4, 4, 3)),
    ],
    ids=lambda frame: f"{frame.dtype}{tuple(frame.shape)}",
)
def test_unusable_frame_is_refused_and_changes_nothing(frame: torch.Tensor) -> None:
    compositor = TensorCompositor(
        Visualization(visualization_mode="interframe", keyframe_duration=2)
    )
    good = torch.zeros((2, 2, 3), dtype=torch.uint8)
    compositor.step(good, fixations([]))
    with pytest.raises(ConfigError, match="frame"):
        compositor.step(frame, fixations([]))
    assert [compositor.step(good + 1, fixations([])).keyframe for _ in range(2)] == [False, True]
