"""Pages as data: what they hold, what bounds them, and what they let run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.jobs.folder import find_video, is_ours, read_summary
from autogaze_cli.player.index import Row, write_index
from autogaze_cli.player.page import PageWriter
from autogaze_cli.trace import FrameTrace
from autogaze_cli.visualize.compositor import Compositor
from autogaze_cli.visualize.settings import Visualization

VIEW = Visualization(visualization_mode="interframe")


def cells(places: list[tuple[float, float, int]]) -> Fixations:
    x, y, grid = zip(*places, strict=True)
    size = 1 / np.array(grid)
    columns = {"x": x, "y": y, "width": size, "height": size, "grid": grid}
    return Fixations.from_columns(columns | {"token": np.arange(len(grid))})


def write(path: Path, gazes: list[Fixations], name: str = "a", **options: Any) -> list[Any]:
    """Write a page of grey frames, 900 wide; what stands in it for each frame."""
    compositor = Compositor(VIEW)
    about = {"visualization": {}, "fps": 8.0}
    with PageWriter(path, name, 900, 300, about, **options) as page:
        for n, gaze in enumerate(gazes):
            view = compositor.step(np.full((300, 900, 3), 40 * n, np.uint8), gaze)
            slots = np.array([7], np.int32)
            page.add(view, FrameTrace(n, Fraction(n, 8), view.fixations, 0.5, slots))
        page.close({"source_video": name})
    pattern = '<script type="application/json" class="frame">(.*)</script>'
    return [json.loads(text) for text in re.findall(pattern, path.read_text())]


def test_cells_come_back_as_they_were(tmp_path: Path) -> None:
    first = cells([(0.25, 0.25, 2), (0.1, 0.9, 14), (0.25, 0.25, 2)])
    second = cells([(0.25, 0.25, 2), (0.7, 0.3, 7), (0.7, 0.3, 7)])
    frames = write(tmp_path / "a.html", [first, second])
    table = np.empty((0, 7), "<i4")
    for frame, given in zip(frames, (first, second), strict=True):
        new = np.frombuffer(base64.b64decode(frame["new_cells"]), "<i4").reshape(-1, 7)
        table = np.concatenate([table, new])
        numbers = np.frombuffer(base64.b64decode(frame["cells"]), "<u4")
        rows = table[numbers]
        places = np.ascontiguousarray(rows[:, :4]).view(np.float32)
        for column, name in enumerate(("x", "y", "width", "height")):
            np.testing.assert_array_equal(places[:, column], getattr(given, name))
        for column, name in enumerate(("grid", "token", "tile"), 4):
            np.testing.assert_array_equal(rows[:, column], getattr(given, name))
    # The first of the second frame was there already, and only that.
    assert len(table) == 5


def test_pictures_are_small_and_end_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    gaze = cells([(0.5, 0.5, 4)])
    frames = write(path, [gaze] * 3)
    sizes = [len(frame["pictures"]["input"]) for frame in frames]
    picture = Image.open(BytesIO(base64.b64decode(frames[2]["pictures"]["input"])))
    assert picture.size == (640, 213)
    assert np.abs(np.asarray(picture).astype(int) - 80).max() <= 1
    limited = write(path, [gaze] * 3, max_picture_bytes=sizes[0])
    assert [sorted(frame["pictures"]) for frame in limited] == [["input"], [], []]
    assert limited[2]["cells"] == frames[2]["cells"]


def test_infinite_psnr_is_json(tmp_path: Path) -> None:
    frames = write(tmp_path / "a.html", [cells([(0.5, 0.5, 4)])] * 2)
    assert [frame["psnr_db"] is None for frame in frames] == [True, False]
    assert [frame["keyframe"] for frame in frames] == [True, False]


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "a\udcffb", "\u2028<!--"])
def test_no_name_becomes_markup(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.html"
    write(path, [cells([(0.5, 0.5, 4)])], name)
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<!--" not in text
    shown = name.encode(errors="backslashreplace").decode()
    assert read_summary(path)["document"]["source_video"] == shown
    write_index(tmp_path / "index.html", name, [Row(name=name, page=path, error=name)])
    assert "<script>alert" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_policy_knows_the_one_style_and_the_one_script(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    write(path, [cells([(0.5, 0.5, 4)])])
    write_index(tmp_path / "index.html", "all", [])
    for page in (path, tmp_path / "index.html"):
        text = page.read_text()
        assert is_ours(page)
        assert re.findall(r"""(?:src|href)=["'](?!data:)[^"']*""", text) == []
        assert "http" not in text.replace("http-equiv", "").replace(
            "http://www.w3.org/2000/svg", ""
        )
        for tag in ("style", "script"):
            (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            known = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{known}'" in text


def test_a_summary_is_whatever_json_stands_there(tmp_path: Path) -> None:
    page = tmp_path / "a.report.html"
    mark = '<script type="application/json" id="summary">'
    for text, summary in [
        ("", {}),
        (f"{mark}[1]</script>", {}),
        (f"{mark}{{</script>", {}),
        (f'{mark}{{"frames": 3}}</script>', {"frames": 3}),
    ]:
        page.write_text(text)
        assert read_summary(page) == summary
    strange = {"thumbnail": '"><script>', "frames": "x", "document": {"model": ["<b>"], "a": None}}
    index = tmp_path / "index.html"
    write_index(index, "t", [Row(name="n", page=page, summary=strange)])
    assert '"><script>' not in index.read_text().partition("<tbody>")[2].partition("</tbody>")[0]


def test_videos_are_looked_for_below_their_folder_only(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "b").mkdir(parents=True)
    (videos / "b" / "c.mp4").touch()
    (tmp_path / "secret.mp4").touch()
    for source in ("a/b/c.mp4", "/far/away/b/c.mp4", "b/c.mp4"):
        assert find_video(source, videos, tmp_path) == videos / "b" / "c.mp4"
    assert find_video("../secret.mp4", videos, tmp_path) is None
    assert find_video("https://example.com/b.mp4", videos, tmp_path) is None


def test_a_trace_opens_no_video_outside_of_its_results_and_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, results = tmp_path / "here", tmp_path / "results"
    here.mkdir()
    results.mkdir()
    secret = tmp_path / "secret.mp4"
    secret.touch()
    (results / "link.mp4").symlink_to(secret)
    (here / "mine.mp4").touch()
    monkeypatch.chdir(here)
    for source in (str(secret), "../secret.mp4", str(results / "link.mp4")):
        assert find_video(source, None, results) is None
    assert find_video("mine.mp4", None, results) == Path("mine.mp4")
    assert find_video(str(secret), None, tmp_path) == secret
