"""The class ``AutoGaze`` and the scripts under it, in Chromium: the same numbers as the program."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.media.video import read_frames
from autogaze_cli.player import html
from autogaze_cli.player.viewer import WORKER_SCRIPTS, write_class
from autogaze_cli.sources.patch_diff import PatchDiff
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.metrics import format_psnr_db
from autogaze_cli.visualize.settings import Visualization
from scripts.build_wasm import WASM
from tests.wasm.portable import Portable, Wasm

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")

KESTREL = Path("autogaze_cli/models/kestrel").absolute()
LAYOUT = ScaleLayout.from_config("32+64+112+224", 265, 16)


@pytest.fixture(scope="module")
def dog() -> NDArray[np.uint8]:
    """Three small frames, RGBA."""
    frames = [frame.rgb for frame in read_frames(Path("fixtures/dog.mp4"))][:24:8]
    small = [np.asarray(Image.fromarray(rgb).resize((300, 170))) for rgb in frames]
    return np.stack([np.dstack([rgb, np.full_like(rgb[..., :1], 255)]) for rgb in small])


@pytest.fixture(scope="module")
def bench(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with the class, and a model as ``gaze``."""
    script = tmp_path_factory.mktemp("class") / "autogaze.js"
    write_class(script)
    with browser.new_context() as context:
        page = context.new_page()
        page.add_script_tag(path=script)
        page.evaluate(
            """async ([config, weights]) => {
              const bytes = Uint8Array.from(atob(weights), (sign) => sign.charCodeAt(0));
              globalThis.gaze = await AutoGaze.create(config, bytes);
              const text = (bytes) => {
                let all = "";
                for (const byte of bytes) all += String.fromCharCode(byte);
                return btoa(all);
              };
              globalThis.plain = (frame) => ({ ...frame, cells: JSON.parse(frame.pointsJson),
                maskRgba: text(frame.maskRgba), outputRgba: text(frame.outputRgba) });
            }""",
            [
                (KESTREL / "config.json").read_text(),
                base64.b64encode((KESTREL / "model.safetensors").read_bytes()).decode(),
            ],
        )
        yield page


def infer(page: Page, clip: NDArray[np.uint8], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The frames of ``inferRgbaClip``."""
    count, height, width, _ = clip.shape
    found: list[dict[str, Any]] = page.evaluate(
        """([bytes, count, width, height, settings]) => {
          Object.assign(gaze, settings);
          gaze.resetVisualizationState();
          const clip = Uint8Array.from(atob(bytes), (sign) => sign.charCodeAt(0));
          return gaze.inferRgbaClip(clip, count, width, height).frames.map(plain);
        }""",
        [base64.b64encode(clip.tobytes()).decode(), count, width, height, settings],
    )
    return found


def fixations(frame: dict[str, Any]) -> Fixations:
    return Fixations.from_columns({name: np.array(v) for name, v in frame["cells"].items()})


def test_tokens_are_those_of_the_library(bench: Page, dog: NDArray[np.uint8]) -> None:
    pytest.importorskip("wasmtime")
    frames = infer(bench, dog, {"taskLossRequirement": 0.1, "maxGazeTokensEachFrame": 90})
    portable = Portable(Wasm(WASM), KESTREL)
    stream = portable.stream()
    for frame, pixels in zip(frames, dog, strict=True):
        portable.put(np.ascontiguousarray(pixels[..., :3]))
        ids, confidences, _ = portable.gaze(stream, 90, 0, float(np.float32(0.1)))
        wanted = LAYOUT.fixations(ids, confidences)
        found = fixations(frame)
        for name in ("x", "y", "width", "height", "confidence", "grid", "token", "slot"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
        assert frame["slots"] == [len(ids)]


@pytest.mark.parametrize(
    "settings",
    [
        Visualization(visualization_mode="interframe", mask_visualization="scale-rows"),
        Visualization(mask_geometry="effective", mask_visualization="image-overlay"),
    ],
)
def test_frames_are_drawn_and_measured_as_by_the_program(
    bench: Page, dog: NDArray[np.uint8], settings: Visualization
) -> None:
    frames = infer(
        bench,
        dog,
        {
            "visualizationMode": settings.visualization_mode,
            "maskVisualization": settings.mask_visualization,
            "maskGeometry": settings.mask_geometry,
            "maxGazeTokensEachFrame": None,
        },
    )
    compositor = Compositor(settings)
    for frame, pixels in zip(frames, dog, strict=True):
        view = compositor.step(pixels, fixations(frame))
        assert base64.b64decode(frame["maskRgba"]) == view.mask_panel.tobytes()
        assert base64.b64decode(frame["outputRgba"]) == view.output.tobytes()
        assert frame["maskPixelCount"] == view.mask_pixel_count
        assert frame["updatedPixelCount"] == view.updated_pixel_count
        assert frame["updateRatio"] == view.update_ratio
        assert frame["psnrText"] == format_psnr_db(view.psnr_db)


@pytest.mark.parametrize(("mode", "tile", "stride"), [("tiled", 160, 160), ("tiled-full", 160, 90)])
def test_tiles_lie_where_the_program_puts_them(
    bench: Page, dog: NDArray[np.uint8], mode: str, tile: int, stride: int
) -> None:
    given = {"mode": mode, "tileSize": tile, "stride": stride, "maxGazeTokensEachFrame": 20}
    (frame,) = infer(bench, dog[:1], given)
    bench.evaluate("gaze.mode = 'resize'")
    layout = TileLayout(mode=mode, height=170, width=300, tile_size=tile, stride=stride)  # type: ignore[arg-type]
    assert len(frame["slots"]) == len(layout)
    found = fixations(frame)
    local = LAYOUT.fixations(found.token, found.confidence, found.slot, found.tile)
    placed = layout.to_source(local)
    for name in ("x", "y", "width", "height", "grid", "tile"):
        np.testing.assert_array_equal(getattr(found, name), getattr(placed, name), name)
    assert (np.diff(found.confidence) <= 0).all()


def test_settings_are_checked(bench: Page) -> None:
    said = bench.evaluate(
        """() => {
          globalThis.refusal = (act) => {
            try { act(); return "taken"; } catch (error) { return error.message; }
          };
          const wrong = [["mode", "tile"], ["topK", 0], ["blendAlpha", "x"], ["stride", 1.5]];
          return wrong.map(([name, value]) => refusal(() => { gaze[name] = value; }));
        }"""
    )
    assert said[0] == "mode must be one of resize, tiled, tiled-full, not tile"
    assert said[1] == "topK must be a whole number of at least 1, not 0"
    assert "taken" not in said
    assert bench.evaluate(
        "gaze.taskLossRequirementDb = 40, gaze.taskLossRequirement"
    ) == np.float32(0.01)
    tiled = "Object.assign(gaze, { mode: 'tiled', tileSize: 224 }).tileCount(1920, 1080)"
    assert bench.evaluate(tiled) == 45
    message = bench.evaluate("() => refusal(() => gaze.inferRgbaClip(new Uint8Array(7), 1, 2, 2))")
    assert message == "7 bytes are not 1 frames of 2 x 2 RGBA"


@pytest.mark.parametrize(
    ("height", "width", "grid", "threshold"),
    [(140, 224, 14, 0.3), (101, 67, 9, 0.0), (40, 40, 40, 0.6)],
)
def test_patch_diff_finds_what_the_program_finds(
    page: Page, height: int, width: int, grid: int, threshold: float
) -> None:
    for name in WORKER_SCRIPTS[:-1]:
        page.add_script_tag(content=html.asset(name))
    rng = np.random.default_rng(height)
    frames = rng.integers(0, 256, (3, height, width, 4), np.uint8)
    frames[1:] = (frames[:1].astype(int) * 3 + frames[1:]) // 4
    found = page.evaluate(
        """([frames, width, height, settings]) => {
          const source = new PatchDiffGaze();
          return frames.map((text) => {
            const data = Uint8ClampedArray.from(atob(text), (sign) => sign.charCodeAt(0));
            const { cells } = source.frame({ width, height, data }, settings);
            return JSON.stringify(cells, (_, v) => (ArrayBuffer.isView(v) ? [...v] : v));
          });
        }""",
        [
            [base64.b64encode(frame.tobytes()).decode() for frame in frames],
            width,
            height,
            {"patch_diff_grid": grid, "patch_diff_threshold": threshold},
        ],
    )
    program = PatchDiff(grid=grid, threshold=threshold)
    previous = None
    for frame, text in zip(frames, found, strict=True):
        rgb = np.ascontiguousarray(frame[..., :3])
        wanted = program.fixations(previous, rgb)
        previous = rgb
        cells = json.loads(text)
        for name in ("x", "y", "width", "height", "confidence", "grid", "token"):
            np.testing.assert_array_equal(
                np.array(cells[name], np.float64), getattr(wanted, name), name
            )
    assert len(wanted) > 0


def test_the_example_of_the_documents_runs(page: Page, tmp_path: Path) -> None:
    shutil.copy("docs/examples/gaze_class.html", tmp_path)
    write_class(tmp_path / "autogaze.js")
    Image.effect_mandelbrot((160, 120), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(
        tmp_path / "picture.png"
    )
    page.goto((tmp_path / "gaze_class.html").as_uri())
    names = ("config.json", "model.safetensors")
    page.set_input_files("#model", [KESTREL / name for name in names])
    page.set_input_files("#picture", tmp_path / "picture.png")
    page.wait_for_function("() => document.getElementById('told').textContent.includes('dB')")
    assert page.evaluate("[shown.width, shown.height]") == [480, 120]
