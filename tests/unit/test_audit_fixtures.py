"""The audit against the fixtures of its specification, and against code as people write it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest

from autogaze_cli.audit.analysis import analyse
from autogaze_cli.audit.audit import run_audit
from autogaze_cli.audit.names import Names
from autogaze_cli.audit.settings import AuditSettings

FIXTURES = Path(__file__).parents[2] / "fixtures" / "audit"
CASES = FIXTURES / "cases.txt"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())


def found(name: str, text: str) -> list[str]:
    """Line and rule of each finding in one file."""
    findings = analyse(name, dedent(text).encode(), Names()).findings
    return [f"{line} {rule}" for line, rule in sorted((f.line, f.rule) for f in findings)]


@pytest.mark.parametrize("name", EXPECTED)
def test_fixtures_of_the_specification(name: str) -> None:
    path = FIXTURES / name
    assert path.is_file()
    levels = {f.rule: f.level for f in run_audit([path], AuditSettings()).findings}
    lines = found(name, path.read_text())
    if name.startswith("pos"):
        lines = [line for line in lines if levels[line.split()[1]] != "note"]
    assert sorted(lines) == sorted(EXPECTED[name])


def test_both_folders_together() -> None:
    audit = run_audit([FIXTURES], AuditSettings())
    assert audit.coverage.analysed == 9
    assert {f.path for f in audit.counted()} == {n for n, lines in EXPECTED.items() if lines}
    assert audit.notices == []


DECODER = """\
    use burn_autogaze::AutoGazeGenerateOutput;
    const CONNECTOR_TOKENS: usize = 196;

    /// let token = raw_token - frame_offset;
    fn mask_of_window(generated: &AutoGazeGenerateOutput, grid: Grid) -> Mask {
        mask_from(grid, &window_tokens(generated, 4))
    }

    #[inline]
    fn window_tokens(generated: &AutoGazeGenerateOutput, frames: usize) -> Vec<Vec<usize>> {
        let ids = generated.gazing_pos.first();
        let flags = generated.if_padded_gazing.first();
        let mut start = 0usize;
        (0..frames).map(|frame| {
            let n = generated.num_gazing_each_frame.get(frame).copied().unwrap_or(0);
            let offset = (frame * CONNECTOR_TOKENS) as i64;
            let mut out = Vec::new();
            for i in start..start + n {
                if flags.and_then(|f| f.get(i)).copied().unwrap_or(true) { continue; }
                let Some(raw) = ids.and_then(|ids| ids.get(i)).copied() else { continue; };
                let token = raw - offset;
                if token < 0 { continue; }
                let token = token as usize;
                if token < CONNECTOR_TOKENS { out.push(token); }
            }
            start += n;
            out
        }).collect()
    }

    fn square() -> Grid {
        let side = (CONNECTOR_TOKENS as f32).sqrt() as usize;
        assert_eq!(side * side, CONNECTOR_TOKENS);
        Grid::new(side, side)
    }

    fn density(grid: Grid, density: f32) -> usize {
        let tokens = grid.tokens_per_frame().max(1);
        ((tokens as f32) * density / grid.tokens_per_frame() as f32).ceil() as usize
    }

    fn config() -> Config {
        Config { num_vision_tokens_each_frame: CONNECTOR_TOKENS, vocab: CONNECTOR_TOKENS + 1 }
    }
"""


def test_a_local_decoder_and_what_is_built_on_it(tmp_path: Path) -> None:
    (tmp_path / "bench.rs").write_text(dedent(DECODER))
    findings = run_audit([tmp_path], AuditSettings()).findings
    assert [f"{f.line} {f.rule}" for f in findings] == [
        "2 AGR107", "5 AGR102", "10 AGR101", "11 AGR110", "21 AGR103", "24 AGR111", "32 AGR108",
    ]  # fmt: skip
    by_rule = {f.rule: f for f in findings}
    assert by_rule["AGR102"].related[0].line == 6
    assert {r.message for r in by_rule["AGR101"].related} == {
        "reads the ids",
        "walks the frames",
        "computes with an id",
    }
    assert by_rule["AGR101"].lines == {9, 10}, "a comment above the attribute counts"


def test_the_projection_may_lie_in_another_file(tmp_path: Path) -> None:
    rust = dedent(DECODER).split("\n\n")
    (tmp_path / "a.rs").write_text(rust[0] + "\n" + rust[1])
    (tmp_path / "b.rs").write_text(rust[0] + "\n" + rust[2])
    places = {(f.path, f.rule) for f in run_audit([tmp_path], AuditSettings()).findings}
    assert {("a.rs", "AGR102"), ("b.rs", "AGR101")} <= places


def test_a_migrated_file_is_silent() -> None:
    assert found("bench.rs", """\
        use burn_autogaze::{AutoGazeConfig, AutoGazeGenerateOutput, SparseReadoutGrid};
        const CONNECTOR_TOKENS: usize = 196;
        fn generated_frame_tokens(out: &AutoGazeGenerateOutput, frames: usize) -> Vec<Vec<usize>> {
            let mut tokens = generated_to_frame_readout_tokens(out, &config(), 0, grid(), opts())
                .expect("tokens");
            tokens.resize(frames, Vec::new());
            tokens
        }
        fn context_mask_from_autogaze_generated(
            out: &AutoGazeGenerateOutput,
            grid: TokenGridShape,
        ) -> Mask {
            let bins = 4usize.div_ceil(TUBELET);
            let indices = generated_to_video_readout_tokens(out, &config(), 0, image(), video())
                .into_iter()
                .filter(|token| token / grid.tokens_per_frame() < bins)
                .collect();
            Mask::new(indices, grid.len())
        }
        fn config() -> AutoGazeConfig {
            AutoGazeConfig { num_vision_tokens_each_frame: CONNECTOR_TOKENS, ..Default::default() }
        }
    """) == []  # fmt: skip


def test_a_loop_in_python_under_other_names() -> None:
    assert found("viz.py", """\
        SCALE_GRIDS = [(2, 4), (4, 16), (7, 49), (14, 196)]
        PER_FRAME = 265

        def cells(model, video, steps):
            out = model.generate(video)
            flat = out["gazing_pos"][0].cpu().numpy()
            hidden = out["if_padded_gazing"][0].cpu().numpy()
            kept = [[] for _ in range(steps)]
            for n in range(flat.shape[0]):
                if hidden[n]:
                    continue
                where = int(flat[n])
                step, inner = where // PER_FRAME, where % PER_FRAME
                begin = 0
                for side, count in SCALE_GRIDS:
                    if inner < begin + count:
                        kept[step].append(((inner - begin) // side, (inner - begin) % side))
                        break
                    begin += count
            return kept
    """) == [
        "1 AGR106", "2 AGR107", "4 AGR101", "6 AGR110", "13 AGR104", "16 AGR115", "17 AGR115",
        "17 AGR116",
    ]  # fmt: skip


def test_the_vocabulary_under_a_local_name() -> None:
    assert found("split.py", """\
        def local_ids(outputs, frame_count):
            ids = outputs["gazing_pos"]
            flags = outputs.get("if_padded_gazing")
            each = int(outputs.get("num_vision_tokens_each_frame", 265))
            start = 0
            for k in range(frame_count):
                part = ids[:, start : start + 10]
                yield [int((one - k * each).item()) % each for one in part]
                start += 10
            return flags
    """) == ["1 AGR101", "8 AGR103", "8 AGR104"]  # fmt: skip


def test_ids_are_followed_into_a_function_of_the_file() -> None:
    assert found("two.py", """\
        def place(flat, *, layout):
            per_frame = sum(layout)
            return flat // per_frame, flat % per_frame

        def places(gazing_pos, if_padded_gazing):
            rows = as_array(gazing_pos)
            return [place(int(one), layout=[9]) for one in rows]

        def other(flat, per_frame):
            return flat // per_frame
    """) == ["3 AGR104"]  # fmt: skip


HOST = """\
    import math
    import torch
    from autogaze.models.autogaze import AutoGaze

    class Encoder:
        def gather(self, sequence, gazing_pos, if_padded_gazing):
            pos = gazing_pos.clone()
            pos[if_padded_gazing] = 0
            rows = torch.arange(sequence.shape[0])[:, None]
            chosen = sequence[rows, pos]
            return chosen - self.mean / self.num_vision_tokens

        def join(self, info):
            parts, start = [], 0
            for length in info["num_gazing_each_frame"].tolist():
                parts.append(info["gazing_pos"][:, start : start + int(length)])
                start += int(length)
            return {"gazing_pos": torch.cat(parts, dim=1)}

        def scores(self, scores, info):
            ids = info["gazing_pos"]
            out = torch.zeros_like(ids, dtype=scores.dtype)
            keep = torch.zeros(scores.shape[0], scores.shape[1])
            keep[0, ids[0].clamp(0, 4)] = 1
            share = ids.numel() / (self.frames * self.num_vision_tokens)
            return out - 4, keep, share

        def positions(self, index):
            frame = index // self.tokens_per_frame
            return frame, index - frame * self.tokens_per_frame

    def masks(gaze):
        for mask in gaze["gazing_mask"]:
            side = int(math.sqrt(mask.shape[-1]))
            yield mask.reshape(-1, side, side)

    def fake(selected, tokens_per_frame):
        gazing_pos = torch.zeros(2, 9)
        for frame_idx, local in selected:
            gazing_pos[0, local] = frame_idx * tokens_per_frame + local
        return {"gazing_pos": gazing_pos, "num_gazing_each_frame": [4]}

    def main(model, video):
        budget = int(0.2 * model.num_vision_tokens_each_frame)
        allowed = list(range(69, 265))
        sizes = {"num_vision_tokens_each_frame": 265, "offset": 69 - 4}
        chunks = [video[i : i + 196] for i in range(0, 265, 196)]
        gaze = model(video, max_gaze_tokens_each_frame=budget, allowed=allowed)
        frames = gaze["gazing_pos"][0].split(gaze["num_gazing_each_frame"].tolist())
        expected = torch.tensor([[0, 4, 20, 69]])
        assert torch.equal(gaze["gazing_pos"], torch.tensor([[0, 4, 20, 69]]))
        return sizes, chunks, frames
"""


def test_what_a_host_model_does_with_the_output_stays_silent() -> None:
    lines = dedent(HOST).split("\n")
    table = next(n for n, line in enumerate(lines, 1) if line.startswith("    expected"))
    assert found("host.py", HOST) == [f"{table} AGR105"], "neither output nor an assertion"


@pytest.mark.parametrize(
    ("name", "expected", "text"),
    re.findall(r"^=== (\S+): (.*)\n((?:(?!===).*\n)*)", CASES.read_text(), re.MULTILINE),
)
def test_small_cases(name: str, expected: str, text: str) -> None:
    assert (", ".join(found(name, text)) or "nothing") == expected


def test_the_small_cases_are_all_there() -> None:
    assert CASES.read_text().count("=== ") == 1 + 50


def test_names_may_be_added() -> None:
    names = Names(extra_id_names=("lookIds",), extra_vocab_names=("cells",))
    text = b"def f(out, if_padded_gazing):\n    return out.look_ids // CELLS"
    assert [f.rule for f in analyse("a.py", text, names).findings] == ["AGR101", "AGR104"]
    assert analyse("a.py", text, Names()).findings == []


def test_more_names_than_a_pair_are_a_record() -> None:
    few = "def f(gazing_pos, if_padded_gazing):\n    a, b, c = load(gazing_pos)\n    return b - 69"
    many = few.replace("c =", "c, d =")
    assert found("a.py", few) == ["1 AGR101", "3 AGR105"]
    assert found("a.py", many) == []
