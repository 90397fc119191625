"""The live viewer in headless Chromium: from disk, without a network, with a fake camera."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from PIL import Image

from autogaze_cli.jobs.viewer import read_checkpoint
from autogaze_cli.player.viewer import write_viewer
from autogaze_cli.trace import read_trace
from tests.browser.live import (
    HEIGHT,
    WIDTH,
    gaze_until,
    open_viewer,
    picture,
    summary,
    write_camera,
    write_webm,
)
from tests.browser.shown import canvas

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")

KESTREL = Path("autogaze_cli/models/kestrel").absolute()


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "gaze.html"
    write_viewer(path, read_checkpoint("kestrel"))
    return path


@pytest.fixture(scope="module")
def camera_browser(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium whose camera shows a file."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    write_camera(path)
    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    opened = browser.browser_type.launch(
        executable_path=browser_path(),
        args=[*flags, f"--use-file-for-fake-video-capture={path}"],
    )
    yield opened
    opened.close()


def browser_path() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found is not None  # the fixture `browser` has seen to it
    return found


@pytest.fixture
def live(camera_browser: Browser) -> Iterator[Page]:
    """A page without a network, on which any message or request fails the test."""
    with camera_browser.new_context(
        viewport={"width": 1280, "height": 900}, accept_downloads=True, offline=True
    ) as context:
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(("file:", "blob:", "about:", "data:"))
                else problems.append(asked.url)
            ),
        )
        yield page
        assert problems == []


def test_one_small_file_that_may_ask_for_nothing(viewer: Path) -> None:
    text = viewer.read_text()
    assert viewer.stat().st_size < 10_000_000
    policy = text.split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "connect-src" not in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert "http" not in policy


def test_it_gazes_at_a_camera(live: Page, viewer: Path) -> None:
    open_viewer(live, viewer, "#inference_width=160&horizon_frames=2")
    done = gaze_until(live, 5)
    assert live.inner_text("#problems") == ""
    assert done["gazed"]["fps"] > 0
    assert done["gaze_ms"]["p50"] > 0
    assert done["shown"]["frames"] >= done["gazed"]["frames"] + done["gazed"]["dropped"]
    assert 0 < done["mask_ratio"]["mean"] < 1
    assert done["output_psnr_db"]["mean"] > 20
    assert done["cells"]["mean"] > 1
    shown = canvas(live, "input")
    assert shown.shape == (120, 160, 4)
    seen = np.asarray(Image.fromarray(picture(0)).resize((160, 120)))
    above = (slice(0, 40), slice(None), slice(0, 3))  # the square
    assert np.corrcoef(shown[above].ravel(), seen[above].ravel())[0, 1] > 0.98
    mask, output = canvas(live, "mask"), canvas(live, "output")
    assert (mask != shown).any()
    assert (output[..., 3] == 255).all()
    for name in ("shown", "gazed", "gaze", "updated", "masked", "psnr"):
        assert live.inner_text(f"#figure-{name}")[0].isdigit()
        average = live.inner_text(f"#average-{name}").removeprefix("moving average ")
        assert average[0].isdigit()


def test_every_control_changes_what_it_should(live: Page, viewer: Path) -> None:
    open_viewer(live, viewer, "#source=pan&fps=30&inference_width=160&horizon_frames=2")
    first = gaze_until(live, 3)
    cells = {}
    for name, id_, value in [
        ("few", "max_gaze_tokens_each_frame", "3"),
        ("more", "top_k", "12"),
    ]:
        live.fill(f"#{id_}", value)
        cells[name] = gaze_until(live, 3)["cells"]["max"]
    assert cells["few"] <= 3 < cells["more"] <= 12
    live.fill("#max_gaze_tokens_each_frame", "")
    live.fill("#top_k", "1")
    live.fill("#task_loss_requirement_db", "40")
    fine = gaze_until(live, 3)
    live.fill("#task_loss_requirement_db", "3")
    coarse = gaze_until(live, 3)
    assert fine["cells"]["mean"] > first["cells"]["mean"] > coarse["cells"]["mean"]
    live.check("#disable_task_loss_requirement")
    assert gaze_until(live, 2)["cells"]["max"] == 198
    assert live.is_disabled("#task_loss_requirement_db")
    live.uncheck("#disable_task_loss_requirement")
    live.fill("#task_loss_requirement_db", "40")
    live.select_option("#mode", "tiled")
    live.fill("#inference_width", "300")
    gaze_until(live, 2)
    assert canvas(live, "input").shape[:2] == (169, 300)
    live.hover("#panel-input canvas")
    assert ", tile " in live.inner_text("#pointed")
    live.select_option("#mode", "tiled-full")
    live.fill("#tile_size", "150")
    live.fill("#stride", "100")
    assert gaze_until(live, 1)["settings"]["stride"] == 100
    live.fill("#inference_height", "90")
    live.select_option("#mask_source", "patch-diff")
    live.fill("#patch_diff_threshold", "0.1")
    busy = gaze_until(live, 5)["cells"]["mean"]
    assert canvas(live, "input").shape[:2] == (90, 300)
    live.fill("#patch_diff_threshold", "1.9")
    calm = gaze_until(live, 5)["cells"]["mean"]
    live.fill("#patch_diff_threshold", "0.1")
    live.fill("#patch_diff_grid", "28")
    assert gaze_until(live, 5)["cells"]["mean"] > busy > calm
    assert live.locator("#task_loss_requirement_db").is_hidden()


def test_every_drawing_control_redraws(live: Page, viewer: Path) -> None:
    open_viewer(
        live,
        viewer,
        "#source=local-motion&mask_source=patch-diff&patch_diff_threshold=0.2&patch_diff_grid=9",
    )
    gaze_until(live, 6)
    seen = [canvas(live, "mask").tobytes()]
    for id_, value in [
        ("mask_visualization", "overlay"),
        ("mask_geometry", "effective"),
        ("mask_cell_scale", "2"),
        ("mask_visualization", "image-mask-only"),
        ("blend_alpha", "0.2"),
    ]:
        select = id_ in ("mask_visualization", "mask_geometry")
        (live.select_option if select else live.fill)(f"#{id_}", value)
        assert canvas(live, "mask").tobytes() not in seen, id_
        seen.append(canvas(live, "mask").tobytes())
    live.locator("#scales input").nth(3).uncheck()
    assert not canvas(live, "mask")[..., 3].any()
    live.locator("#scales input").nth(3).check()
    output = canvas(live, "output")
    live.select_option("#visualization_mode", "full-blend")
    assert (canvas(live, "output") != output).any()
    live.select_option("#visualization_mode", "interframe")
    live.fill("#keyframe_duration", "1")
    done = gaze_until(live, 4)
    assert done["gaze_ratio"]["mean"] == 1  # every frame is a keyframe
    np.testing.assert_array_equal(canvas(live, "output"), canvas(live, "input"))
    live.click("#reset-all")
    assert live.input_value("#keyframe_duration") == "30"
    assert live.evaluate("location.hash") == "#source=local-motion"


def test_files_dropped_and_picked(live: Page, viewer: Path, tmp_path: Path) -> None:
    write_webm(tmp_path / "moving.webm")
    Image.fromarray(picture(3)).save(tmp_path / "still.png")
    open_viewer(live, viewer, "#mask_source=patch-diff&inference_width=")
    live.set_input_files("#file", tmp_path / "still.png")  # starts
    live.wait_for_function("() => document.documentElement.dataset.gazed >= 3")
    live.click("#start")
    still = summary(live)
    assert still["settings"]["source"] == "file"
    assert still["cells"]["max"] == 0  # nothing changes
    np.testing.assert_array_equal(canvas(live, "input")[..., :3], picture(3))
    with (tmp_path / "moving.webm").open("rb") as file:
        content = list(file.read())
    live.evaluate(
        """(content) => {
          const data = new DataTransfer();
          const bytes = new Uint8Array(content);
          data.items.add(new File([bytes], "moving.webm", { type: "video/webm" }));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }""",
        content,
    )
    live.wait_for_function("() => document.documentElement.dataset.gazed >= 6")
    live.click("#start")
    moving = summary(live)
    assert moving["cells"]["max"] > 0
    assert canvas(live, "input").shape[:2] == (HEIGHT, WIDTH)
    (tmp_path / "text.webm").write_text("no video")
    live.set_input_files("#file", tmp_path / "text.webm")
    live.wait_for_selector("#problems li")
    assert "text.webm: this browser cannot play it" in live.inner_text("#problems")


def test_recordings_are_files_that_the_commands_read(
    live: Page, viewer: Path, tmp_path: Path
) -> None:
    open_viewer(live, viewer, "#source=pulse&inference_width=160&horizon_frames=2")
    gaze_until(live, 1)
    live.click("#record-trace")
    live.click("#record-output")
    live.click("#start")
    live.wait_for_timeout(900)
    live.click("#start")
    with live.expect_download() as found:
        live.click("#record-trace")
    found.value.save_as(tmp_path / "gaze.trace.json")
    with live.expect_download() as found:
        live.click("#record-output")
    found.value.save_as(tmp_path / "gaze.webm")
    trace = read_trace(tmp_path / "gaze.trace.json")
    assert trace.header.model == "kestrel"
    assert trace.header.model_sha256 is not None
    assert (trace.header.width, trace.header.height) == (160, 90)
    assert trace.header.settings["horizon_frames"] == 2
    assert len(trace) >= 2
    steps, last = len(trace) - 1, trace.frame(len(trace) - 1).time
    assert trace.header.fps == steps / last
    assert {int(grid) for grid in trace.fixations.grid} <= {2, 4, 7, 14}
    with av.open(tmp_path / "gaze.webm") as container:
        frames = list(container.decode(video=0))
    assert (frames[0].width, frames[0].height) == (160, 90)
    with live.expect_download() as found:
        live.click("#save-summary")
    assert found.value.suggested_filename == "gaze.summary.json"


def test_addresses_set_everything_and_mistakes_are_listed(live: Page, viewer: Path) -> None:
    given = {
        "source": "pulse",
        "camera_size": "320x240",
        "fps": "12",
        "mask_source": "patch-diff",
        "mode": "tiled-full",
        "tile_size": "112",
        "stride": "56",
        "top_k": "4",
        "max_gaze_tokens_each_frame": "40",
        "task_loss_requirement_db": "26",
        "disable_task_loss_requirement": "true",
        "horizon_frames": "3",
        "patch_diff_grid": "9",
        "patch_diff_threshold": "0.3",
        "inference_width": "200",
        "inference_height": "100",
        "mask_visualization": "overlay",
        "mask_geometry": "effective",
        "visualization_mode": "full-blend",
        "keyframe_duration": "7",
        "blend_alpha": "0.4",
        "mask_cell_scale": "1.5",
        "min_confidence": "0.1",
        "scales": "4,14",
    }
    address = "&".join(f"{key}={value}" for key, value in given.items())
    open_viewer(live, viewer, f"#{address}")
    assert live.locator("#problems li").count() == 0
    settings = summary(live)["settings"]
    assert settings.pop("hidden") == [0, 2]
    for key, value in given.items():
        if key in ("scales", "task_loss_requirement_db", "disable_task_loss_requirement"):
            continue
        assert str(settings[key]) == value, key
    assert settings["task_loss_requirement"] is None
    live.fill("#fps", "13")
    wanted = {**given, "fps": "13"}
    found = live.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
    assert found == wanted
    open_viewer(
        live,
        viewer,
        "#fps=0&colour=red&mode=<b>&top_k=1.5&task_loss_requirement=0.1&stride=&blend_alpha=",
    )
    problems = live.locator("#problems li").all_inner_texts()
    assert [line.split("=")[0] for line in problems] == [
        *("fps", "colour", "mode", "top_k", "blend_alpha"),
    ]
    assert "must be one of resize, tiled, tiled-full" in problems[2]
    assert summary(live)["settings"]["task_loss_requirement"] == pytest.approx(0.1)


def test_a_checkpoint_of_the_user(live: Page, viewer: Path) -> None:
    open_viewer(live, viewer)
    names = ("config.json", "model.safetensors", "preprocessor_config.json")
    live.set_input_files("#checkpoint", [KESTREL / name for name in names])
    live.wait_for_function(
        "() => document.getElementById('model').textContent.includes('chosen in the page')"
    )
    assert live.inner_text("#model dd:nth-of-type(2)").startswith("4f762d79")
    tiny = Path("fixtures/parity-tiny").absolute()
    live.set_input_files("#checkpoint", [tiny / name for name in names])
    live.wait_for_selector("#problems li")
    assert "head_dim 16 cannot be run here, only 32" in live.inner_text("#problems")
    live.set_input_files("#checkpoint", [tiny / "config.json"])
    live.wait_for_selector("#problems li:nth-child(2)")
    assert "choose config.json and model.safetensors" in live.inner_text("#problems")
    gaze_until(live, 1)  # the one before is still there


def test_without_a_model_there_is_a_preview_and_patch_diff(live: Page, tmp_path: Path) -> None:
    broken = replace(read_checkpoint("kestrel"), weights=b"no weights", name="<b>broken</b>")
    write_viewer(tmp_path / "gaze.html", broken)
    address = "#source=pan&inference_width=160&start=true"
    live.goto((tmp_path / "gaze.html").as_uri() + address)
    live.wait_for_selector("#problems li")
    assert "model.safetensors: is cut short" in live.inner_text("#problems")
    live.wait_for_function(
        "() => document.getElementById('state').textContent.includes('no model')"
    )
    assert canvas(live, "input")[..., :3].std() > 10
    assert not canvas(live, "output").any()
    live.select_option("#mask_source", "patch-diff")
    live.wait_for_function("() => document.documentElement.dataset.gazed >= 3")
    assert canvas(live, "output")[..., :3].std() > 10


def test_keys_focus_and_a_narrow_window(live: Page, viewer: Path) -> None:
    live.set_viewport_size({"width": 360, "height": 800})
    open_viewer(live, viewer, "#source=pan&inference_width=160&mask_source=patch-diff")
    assert live.evaluate("document.documentElement.scrollWidth") <= 360
    live.keyboard.press("Space")
    live.wait_for_function("() => document.getElementById('state').textContent === 'Gazing.'")
    live.keyboard.press("s")
    live.keyboard.press("m")
    live.keyboard.press("k")
    assert live.input_value("#mask_source") == "autogaze"
    assert live.input_value("#mask_visualization") == "image-mask-only"
    assert live.get_attribute("#start", "aria-pressed") == "false"
    live.keyboard.press("r")
    assert live.input_value("#mask_visualization") == "image-overlay"
    reached = set()
    live.evaluate("document.activeElement.blur()")
    for _ in range(50):
        live.keyboard.press("Tab")
        reached.add(live.evaluate("document.activeElement.id"))
    assert {
        "start",
        "source",
        "mask_source",
        "top_k",
        "mode",
        "checkpoint",
        "record-trace",
    } <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(live: Page, viewer: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    live.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    open_viewer(live, viewer, "#source=pan&inference_width=160&horizon_frames=1")
    gaze_until(live, 1)
    live.evaluate("location.hash = '#unknown=1'")
    live.wait_for_selector("#problems li")
    found = axe.run(live).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
