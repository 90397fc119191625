"""``autogaze compare`` and ``autogaze calibrate`` as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from autogaze_cli.cli.main import cli
from autogaze_cli.compare.check import differences, read_comparison
from autogaze_cli.compare.failures import failures_markdown
from autogaze_cli.errors import FormatError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.xdist_group("compare")

Run = Callable[..., Result]

SMALL = ("--frames", "3", "--tokens", "4,12", "--sources", "rlt,patch-diff,random", "--seeds", "2",
         "--repeats", "1", "--threads", "1", "-q")  # fmt: skip


@pytest.fixture(scope="module")
def clips(clip: Path) -> tuple[str, str]:
    return str(clip), "synthetic:pan"


@pytest.fixture(scope="module")
def measured(clips: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison; tests change a copy of it."""
    folder = tmp_path_factory.mktemp("compare")
    done = CliRunner().invoke(cli, ["compare", *clips, *SMALL, "-o", str(folder)])
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if matplotlib were not installed."""
    monkeypatch.setattr("autogaze_cli.compare.compare.find_spec", lambda name: None)


@pytest.fixture
def compared(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "compared"))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def check_schema(document: Any, name: str) -> None:
    schema = read(ROOT / f"docs/schemas/{name}.schema.json")
    Draft202012Validator(schema).validate(document)


def test_compare_writes_one_table_in_every_form(compared: Path) -> None:
    document = read(compared / "compare.json")
    check_schema(document, "compare")
    assert len(document["clips"]) == 2
    assert len(document["rows"]) == 3 * 3 * 2
    for row in document["rows"]:
        figure = row["figures"]
        assert figure["loss"]["low"] <= figure["loss"]["mean"] <= figure["loss"]["high"]
        if row["setting"] == "tokens" and not row["first_frame_free"]:
            assert figure["tokens_per_frame"]["worst"] == row["tokens"]
            assert figure["tokens_clip"]["mean"] == 3 * row["tokens"]
    with (compared / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["rows"])
    assert float(rows[0]["ssim_mean"]) == document["rows"][0]["figures"]["ssim"]["mean"]
    page = (compared / "compare.html").read_text()
    assert page.count("<figure>") == 2 * 4  # the input and three sources, of two clips
    assert "http" not in page.replace("http-equiv", "")
    assert (
        "Equal tokens, first frame given to all for free" in (compared / "compare.md").read_text()
    )


def test_more_tokens_never_leave_more(compared: Path) -> None:
    rows = read(compared / "compare.json")["rows"]
    found = {
        (r["source"], r["tokens"]): r["figures"]["loss"]["mean"]
        for r in rows
        if not r["first_frame_free"]
    }
    for source in ("rlt", "patch-diff", "random"):
        assert found[source, 12] < found[source, 4]


@pytest.mark.usefixtures("no_plots")
def test_compare_again_differs_in_times_alone(
    run: Run, clips: tuple[str, str], compared: Path, tmp_path: Path
) -> None:
    earlier = compared / "compare.json"
    changed = read(earlier)
    changed["clips"][1]["rows"][0]["figures"]["ssim"] = 0.5
    earlier.write_text(json.dumps(changed))
    again = run("compare", *clips, *SMALL, "-o", tmp_path / "again", "--check", earlier, "--json")
    assert again.exit_code == 1
    (line,) = again.stderr.splitlines()  # all other figures are the same
    assert line.startswith("synthetic:pan, rlt, 4 tokens: ssim is 0.")
    assert line.endswith(", was 0.5")


@pytest.mark.usefixtures("no_plots")
def test_compare_resumes_and_plans(run: Run, clips: tuple[str, str], compared: Path) -> None:
    refused = run("compare", *clips, *SMALL, "-o", compared)
    assert refused.exit_code == 2
    assert "compare.json: already exists; give --overwrite" in refused.stderr
    (compared / "synthetic-pan.compare.json").unlink()
    plan = run("compare", *clips, *SMALL, "-o", compared, "--resume", "--dry-run", "--json")
    states = {item["input"]: item["state"] for item in json.loads(plan.stdout)["inputs"]}
    assert states == dict(zip(clips, ("skip", "run"), strict=True))
    before = read(compared / "compare.json")
    resumed = run("compare", *clips, *SMALL, "-o", compared, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    after = read(compared / "compare.json")
    assert after["clips"][0] == before["clips"][0]
    assert [r["figures"]["loss"] for r in after["rows"]] == [
        r["figures"]["loss"] for r in before["rows"]
    ]


@pytest.mark.usefixtures("no_plots")
def test_an_encoder_adds_its_columns(run: Run, tmp_path: Path) -> None:
    small = ("--frames", "2", "--tokens", "4,196", "--sources", "rlt", "--repeats", "1")
    encoder = ("--encoder", ROOT / "fixtures/encoders/siglip-tiny-p16", "-o", tmp_path)
    done = run("compare", "synthetic:pan", *small, *encoder, "-q", "--threads", "1")
    assert done.exit_code == 0, done.stderr
    document = read(tmp_path / "compare.json")
    check_schema(document, "compare")
    few, all_ = (row["figures"]["cosine_similarity"]["mean"] for row in document["rows"][:4:2])
    assert few < all_ <= 1
    assert all_ > 0.99  # every patch, if not with the same attention
    assert "in brackets" not in done.stdout  # one clip has no interval


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sources", "no-such"), "no such model"),
        (("--tokens", "5,x"), "must be a whole number"),
        (("--sources", "rlt,,evs"), "none of them empty"),
        (("--frames", "1"), "frames must be within 2 to"),
        (("--check", "missing.json"), "missing.json: cannot be read"),
        (("--frames", "99", "--sources", "uniform"), "24 frames were decoded, 99 were"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    run: Run, clip: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run("compare", clip, *arguments, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out" / "compare.json").exists()


@pytest.mark.usefixtures("no_plots")
def test_a_clip_that_fails_leaves_the_others(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    done = run("compare", clip, tmp_path / "broken.mp4", *SMALL, "-o", tmp_path / "out")
    assert done.exit_code == 3
    assert "1 of 2 inputs failed" in done.stderr
    document = read(tmp_path / "out/compare.json")
    check_schema(document, "compare")
    assert len(document["clips"]) == 1
    (failure,) = document["failures"]
    assert failure["input"] == str(tmp_path / "broken.mp4")
    assert f"{failure['error']}; {failure['hint']}" in done.stderr
    assert not (tmp_path / "out/compare.png").exists()


@pytest.mark.usefixtures("no_plots")
def test_hostile_names_of_inputs_that_failed_are_escaped(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["<script>x|y_.mp4", "two\nlines.mp4"]
    monkeypatch.chdir(tmp_path)
    done = run("compare", names[0], clip, *names[1:], *SMALL, "-o", "out")
    assert done.exit_code == 3
    assert [failed["input"] for failed in read(Path("out/compare.json"))["failures"]] == names
    text, page = (Path(f"out/compare.{kind}").read_text() for kind in ("md", "html"))
    assert done.stdout == text
    table = text[text.index("### Not measured: 2 of 3 inputs") : text.index("### Equal tokens")]
    cells = [line.split(" | ")[0].rstrip() for line in table.splitlines() if line[:1] == "|"]
    assert cells[2:] == ["| &lt;script&gt;x\\|y\\_.mp4", "| two\\\\nlines.mp4"]
    assert "<h2>Not measured: 2 of 3 inputs</h2>" in page
    for name in ("&lt;script&gt;x|y_.mp4", "two\\nlines.mp4"):
        assert f"<tr><td>{name}</td><td>no such file</td>" in page


def test_a_name_that_is_no_text_is_shown_escaped() -> None:
    name = os.fsdecode(b"\xff.mp4")
    failure = {"input": name, "error": f"{name}: no such file", "hint": None}
    [text] = failures_markdown({"failures": [failure], "clips": []})
    assert text.splitlines()[-1] == "| \\\\udcff.mp4 | no such file |"


@pytest.mark.usefixtures("no_plots")
def test_inputs_that_a_stopped_run_did_not_reach_are_named(run: Run, tmp_path: Path) -> None:
    names = ("synthetic:pan", "synthetic:pan,frames=2", "synthetic:pan,frames=9")
    done = run("compare", *names, *SMALL, "--fail-fast", "-o", tmp_path)
    assert done.exit_code == 3
    short, unreached = read(tmp_path / "compare.json")["failures"]
    assert (short["input"], unreached["input"]) == names[1:]
    assert short["error"].endswith("2 frames were decoded, 3 were requested")
    assert unreached["error"].startswith("not processed")


def test_a_comparison_without_failures_names_none(compared: Path) -> None:
    assert read(compared / "compare.json")["failures"] == []
    for name in ("compare.md", "compare.html"):
        assert "Not measured" not in (compared / name).read_text()


@pytest.mark.parametrize("damaged", [None, {}, [1], [{"input": "a", "error": 2, "hint": None}]])
def test_earlier_failures_are_read_if_any(compared: Path, damaged: Any) -> None:
    path = compared / "compare.json"
    document = read(path)
    assert read_comparison(path)["failures"] == []
    path.write_text(json.dumps(document | {"failures": damaged}))
    with pytest.raises(FormatError, match="failures"):
        read_comparison(path)
    del document["failures"]  # as earlier versions wrote it
    path.write_text(json.dumps(document))
    assert list(differences(document, read_comparison(path))) == []


def test_calibrate_measures_every_requirement(run: Run, tmp_path: Path) -> None:
    clip = ROOT / "fixtures/dog.mp4"
    done = run(
        *("calibrate", clip, "--frames", "2", "--requirements", "0.1,0.4", "--threads", "1"),
        *("--target", "0.9", "--confidence", "0.5", "-o", tmp_path, "-q"),
    )
    assert done.exit_code == 0, done.stderr
    assert "task_loss_requirement 0.4 reaches a loss of 0.9 on 50% of frames" in done.stdout
    document = read(tmp_path / "calibrate.json")
    check_schema(document, "calibrate")
    strict, lax = document["rows"]
    assert strict["loss"] < lax["loss"]
    assert strict["tokens_per_frame"] > lax["tokens_per_frame"]
    assert document["promise"]["requirement"] == 0.4
    again = run(
        *("calibrate", clip, "--frames", "2", "--requirements", "0.1,0.4", "--threads", "1"),
        *("--target", "0.9", "-o", tmp_path, "--resume", "-q"),
    )
    assert again.exit_code == 1
    assert read(tmp_path / "calibrate.json")["failures"] == []
    assert "needs at least 19 clips, got 1; give more, or --confidence 0.5" in again.stdout


def test_calibrate_names_the_inputs_that_failed(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    done = run(
        *("calibrate", broken, ROOT / "fixtures/dog.mp4", "--frames", "2", "-q"),
        *("--requirements", "0.4", "--threads", "1", "-o", tmp_path / "out"),
    )
    assert done.exit_code == 3
    assert done.stdout.startswith("### Not measured: 1 of 2 inputs\n\n| input ")
    document = read(tmp_path / "out/calibrate.json")
    check_schema(document, "calibrate")
    assert [failed["input"] for failed in document["failures"]] == [str(broken)]
    assert len(document["clips"]) == 1
