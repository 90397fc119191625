"""Every vector of the readout specification; the file is a verbatim copy of its section 16."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autogaze_cli import readout as ro
from autogaze_cli.errors import ConfigError
from autogaze_cli.gaze.fixations import Fixations

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "readout_vectors.json").read_text()
)
In = dict[str, Any]


def points(rows: list[list[float]]) -> Fixations:
    columns = np.array(rows, np.float32).reshape(-1, 5).T
    names = ("x", "y", "width", "height", "confidence")
    return Fixations.from_columns(dict(zip(names, columns, strict=True)))


def config(given: In) -> ro.ReadoutConfig:
    return ro.ReadoutConfig(
        scales=given["scales"],
        num_vision_tokens_each_frame=given["tokens"],
        kernel_size=given["kernel"],
    )


def generated(given: In) -> In:
    """One row; a vector gives the row itself."""
    rows = {name: [given[name]] for name in ("gazing_pos", "if_padded_gazing", "confidences")}
    return rows | {"num_gazing_each_frame": given["num_gazing_each_frame"]}


def options(given: In) -> ro.SparseReadoutOptions:
    names = {
        "confidence_threshold": "confidence_threshold",
        "max_fixations": "max_fixations_per_frame",
        "fixation_scale": "fixation_scale",
        "dilation": "dilation",
        "max_tokens": "max_tokens_per_frame",
    }
    return ro.SparseReadoutOptions(**{names[k]: v for k, v in given.items() if k in names})


def video_options(given: In) -> ro.SparseVideoReadoutOptions:
    names = {"tubelet": "tubelet_size", "dilation": "dilation"}
    names |= {"min_tokens": "min_tokens", "max_tokens": "max_tokens"}
    return ro.SparseVideoReadoutOptions(**{names[k]: v for k, v in given.items() if k in names})


def image_grid(given: In, name: str = "grid") -> ro.SparseReadoutGrid:
    return ro.SparseReadoutGrid(*given[name])


def video_grid(given: In) -> ro.SparseVideoReadoutGrid:
    return ro.SparseVideoReadoutGrid(*given["video_grid"])


def rects(rows: list[list[float]]) -> list[ro.SparseReadoutRect]:
    return [ro.SparseReadoutRect.new(*row) for row in rows]


def image(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def grid_of_geometry(given: In) -> list[int]:
    geometry = ro.SparseVideoPatchGeometry(
        given["frames"],
        given["height"],
        given["width"],
        given["tubelet"],
        given["patch_h"],
        given["patch_w"],
    )
    grid = geometry.readout_grid()
    return [grid.temporal_bins, grid.height, grid.width]


def pyramid(given: In) -> ro.ImagePyramidTokens:
    return ro.tokenize_masked_image_pyramid(
        image(given["image"]),
        image(given["mask"]),
        [ro.ImagePyramidLevel(*level) for level in given["levels"]],
        ro.ImagePyramidMaskOptions(threshold=given["threshold"]),
    )


def pyramid_document(given: In) -> In:
    found = pyramid(given)
    return {
        "tokens": found.tokens.reshape(-1).tolist(),
        "weights": found.weights.reshape(-1).tolist(),
        "ranges": [list(ends) for ends in found.ranges],
    }


def sparsified(given: In) -> In:
    found = ro.sparsify_image_pyramid_tokens(pyramid(given), given["max_tokens"])
    return {
        "tokens": found.tokens.reshape(-1).tolist(),
        "weights": found.weights.reshape(-1).tolist(),
        "indices": found.indices.reshape(-1).tolist(),
    }


def pixels(given: In) -> list[int]:
    """The painted columns of one decoded cell, found in the painted mask."""
    grid, cell = given["grid"], given["cell"]
    extent = float(np.float32(1) / np.float32(grid))
    x = float((np.float32(cell) + np.float32(0.5)) / np.float32(grid))
    mask = ro.fixation_image_mask_tensor(1, 1, given["extent"], points([[x, 0.5, extent, 1, 1]]))
    painted = np.flatnonzero(mask[0, 0, 0].numpy())
    return [int(painted[0]), int(painted[-1]) + 1]


OPERATIONS: dict[str, Callable[[In], Any]] = {
    "square_grid": lambda i: [
        getattr(ro.SparseReadoutGrid.square_from_token_count(i["tokens"]), side)
        for side in ("height", "width")
    ],
    "token_rect": lambda i: image_grid(i).token_rect(i["token"]),
    "video_token_index": lambda i: video_grid(i).token_index(i["t"], i["row"], i["col"]),
    "geometry": grid_of_geometry,
    "points_to_rects": lambda i: ro.fixation_points_to_readout_rects(
        points(i["points"]), options(i)
    ),
    "rects_to_tokens": lambda i: ro.readout_rects_to_tokens(
        rects(i["rects"]), image_grid(i), options(i)
    ),
    "generated_to_frame_tokens": lambda i: ro.generated_to_frame_readout_tokens(
        generated(i), config(i["config"]), 0, image_grid(i), options(i)
    ),
    "scale_layouts": lambda i: ro.scale_token_layouts(config(i)),
    "frame_tokens_to_video": lambda i: ro.frame_readout_tokens_to_video_tokens(
        i["frame_tokens"], image_grid(i, "image_grid"), video_grid(i), video_options(i)
    ),
    "frame_rects_to_video": lambda i: ro.frame_readout_rects_to_video_tokens(
        [rects(frame) for frame in i["frame_rects"]], video_grid(i), video_options(i)
    ),
    "generated_rects_to_video": lambda i: ro.frame_readout_rects_to_video_tokens(
        ro.generated_to_frame_readout_rects(generated(i), config(i["config"]), 0), video_grid(i)
    ),
    "coords": lambda i: ro.video_readout_tokens_to_coords(i["tokens"], video_grid(i), i["batch"]),
    "batched_coords": lambda i: ro.batched_video_readout_tokens_to_coords(
        i["batch_tokens"], video_grid(i)
    ),
    "evenly_spaced": lambda i: ro.evenly_spaced(i["length"], i["keep"]),
    "image_mask": lambda i: ro.fixation_image_mask_tensor(
        1, i["height"], i["width"], points(i["points"])
    )[0, 0],
    "apply_mask": lambda i: ro.apply_image_mask(image(i["image"]), image(i["mask"]), i["fill"])[
        0, 0
    ],
    "pyramid": pyramid_document,
    "sparsify": sparsified,
    "pixel_span": pixels,
}


def plain(value: Any) -> Any:
    """Arrays, tensors and ragged lists as lists."""
    if isinstance(value, ro.Ragged):
        return [part.tolist() for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def assert_same(found: Any, expected: Any) -> None:
    """Whole numbers exactly, others within 1e-6."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for part, value in zip(found, expected, strict=True):
            assert_same(part, value)
    else:
        assert found == (pytest.approx(expected, abs=1e-6) if type(found) is float else expected)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_vector(vector: In) -> None:
    run, expected = OPERATIONS[vector["op"]], vector["out"]
    if isinstance(expected, dict) and "error" in expected:
        with pytest.raises(ConfigError, match=expected["error"]) as caught:
            run(vector["in"])
        assert isinstance(caught.value, ValueError)
    else:
        assert_same(plain(run(vector["in"])), expected)


def test_all_of_them_are_here() -> None:
    assert len(VECTORS) == len({vector["id"] for vector in VECTORS}) == 100
    assert {vector["op"] for vector in VECTORS} == OPERATIONS.keys()
