"""Encoders of gazed patches: attention patterns, independence, cutting, traces and errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from autogaze_cli.encoders import ATTEND, Attend, Encoder, EncoderOutput, load_encoder
from autogaze_cli.encoders.attention import pack
from autogaze_cli.encoders.checkpoint import read_encoder
from autogaze_cli.encoders.cut import Taps
from autogaze_cli.encoders.tokens import encoder_layout
from autogaze_cli.errors import ConfigError, ModelError
from autogaze_cli.gaze.fixations import Fixations
from autogaze_cli.gaze.tiles import TileLayout
from autogaze_cli.model.preprocess import cut_tiles
from autogaze_cli.trace import FrameTrace, Trace, TraceHeader

SIGLIP = Path(__file__).parents[2] / "fixtures" / "encoders" / "siglip-tiny-p16"
IDS = 265


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(SIGLIP)


def gaze(ids: list[list[list[int]]]) -> dict[str, Tensor]:
    """``gazing_info`` of clips and frames with these ids, padded as the published code does."""
    counts = [max(len(clip[t]) for clip in ids) for t in range(len(ids[0]))]
    pos, pad = [], []
    for clip in ids:
        for t, count in enumerate(counts):
            own = [IDS * t + n for n in clip[t]]
            pos += own + [IDS * (t + 1)] * (count - len(own))
            pad += [False] * len(own) + [True] * (count - len(own))
    return {
        "gazing_pos": torch.tensor(pos).view(len(ids), -1),
        "if_padded_gazing": torch.tensor(pad).view(len(ids), -1),
        "num_gazing_each_frame": torch.tensor(counts),
    }


CLIPS = [[[0, 17, 264], [70, 3], [9]], [[5], [], [69, 100, 101, 20, 68]]]


def video(clips: int, frames: int, side: int = 224) -> Tensor:
    return torch.randn(clips, frames, 3, side, side, generator=torch.Generator().manual_seed(1))


def close(a: Tensor, b: Tensor, atol: float = 1e-5) -> bool:
    return torch.allclose(a, b, atol=atol, rtol=0)


# What a token sees.


def allowed(attend: Attend, frame: Tensor) -> Tensor:
    """The mask of encoder spec 2 for one clip, bool ``[n, n]``, of query and key."""
    n = len(frame)
    return {
        "frame": frame[:, None] == frame,
        "clip": torch.ones(n, n, dtype=torch.bool),
        "block-causal": frame[:, None] >= frame,
        "causal": torch.ones(n, n).tril().bool(),
    }[attend]


@pytest.mark.parametrize("attend", ATTEND)
@pytest.mark.parametrize("step", [1, 8])
def test_packed_attention_is_masked_attention(attend: Attend, step: int) -> None:
    rng = np.random.default_rng(3)
    lengths = [[3, 0, 5], [1, 1, 1], [0, 0, 0], [4, 4, 0], [9, 2, 7]]
    clip = np.repeat(np.arange(5), [sum(n) for n in lengths])
    frame = np.concatenate([np.repeat(np.arange(3), n) for n in lengths])
    qkv = torch.from_numpy(rng.standard_normal((len(clip), 3 * 16)).astype(np.float32))
    cpu = torch.device("cpu")
    if attend == "frame":
        packing = pack(clip * 3 + frame, np.zeros_like(clip), 15, cpu, step=step)
    else:
        ranks = {"clip": clip * 0, "block-causal": frame, "causal": np.arange(len(clip))}
        packing = pack(clip, ranks[attend], 5, cpu, step=step)
    mixed = packing.attend(qkv, heads=4)
    for n in range(5):
        at = torch.from_numpy(np.flatnonzero(clip == n))
        if len(at) == 0:
            continue
        q, k, v = qkv[at].view(-1, 3, 4, 4).permute(1, 2, 0, 3)
        scores = (q @ k.transpose(1, 2)) / 2
        mask = allowed(attend, torch.from_numpy(frame[at]))
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        assert close(mixed[at], (weights @ v).transpose(0, 1).reshape(-1, 16))


@pytest.mark.parametrize("attend", ATTEND)
def test_batch_mates_padding_and_step_change_nothing(attend: Attend) -> None:
    encoder = load_encoder(SIGLIP, attend=attend)
    pixels = video(2, 3)
    both = encoder(pixels, gaze(CLIPS))
    done = 0
    for n, clip in enumerate(CLIPS):
        alone = encoder(pixels[n : n + 1], gaze([clip]))
        count = len(alone.last_hidden_state)
        part = both.last_hidden_state[done : done + count]
        assert close(part, alone.last_hidden_state)
        assert close(both.frame_features[n], alone.frame_features[0])
        assert close(both.clip_features[n], alone.clip_features[0])
        done += count
    assert done == len(both.last_hidden_state) == 12


def test_many_tokens_are_encoded_in_parts(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[list[list[int]]] = [[[n, 70], [n]] if n % 2 else [[], []] for n in range(5)]
    patches = encoder.cut(video(5, 2), gaze(ids))
    whole = encoder.encode(patches)
    monkeypatch.setattr("autogaze_cli.encoders.encoder.AT_ONCE", 3)
    parts = encoder.encode(patches)
    assert same(parts, whole)
    assert close(parts.clip_features, whole.clip_features)
    assert close(parts.frame_features, whole.frame_features)


@pytest.mark.parametrize("attend", ["block-causal", "frame", "clip"])
def test_the_order_within_a_frame_changes_nothing(attend: Attend) -> None:
    encoder = load_encoder(SIGLIP, attend=attend)
    pixels = video(1, 2)
    one = encoder(pixels, gaze([[[3, 200, 77], [10, 11]]]))
    other = encoder(pixels, gaze([[[77, 3, 200], [11, 10]]]))
    assert close(one.last_hidden_state, other.last_hidden_state[[1, 2, 0, 4, 3]])
    assert close(one.clip_features, other.clip_features)


def test_no_pad_is_ever_embedded_or_encoded(encoder: Encoder) -> None:
    rows: dict[str, list[int]] = {"patch": [], "qkv": [], "fc1": []}
    network = encoder.network
    modules = {
        "patch": network.patch,
        "qkv": network.get_submodule("layers.1.qkv"),
        "fc1": network.get_submodule("layers.1.mlp.fc1"),
    }
    hooks = [
        module.register_forward_hook(lambda m, a, o, name=name: rows[name].append(len(o)))
        for name, module in modules.items()
    ]
    info = gaze(CLIPS)
    encoder(video(2, 3), info)
    for hook in hooks:
        hook.remove()
    assert info["if_padded_gazing"].sum() == 8
    assert rows == {"patch": [12], "qkv": [12], "fc1": [12]}


def test_output_says_where_each_token_is(encoder: Encoder) -> None:
    output = encoder(video(2, 3), gaze(CLIPS))
    assert output.coords[:4].tolist() == [[0, 0, 0, 0], [0, 0, 3, 1], [0, 0, 13, 13], [0, 1, 0, 1]]
    assert output.scale.tolist()[:6] == [32, 64, 224, 224, 32, 64]
    assert output.frame_features.shape == (2, 3, 64)
    assert not output.frame_features[1, 1].any()  # nothing was gazed at
    assert output.frame_features[1, 2].any()


def test_no_gaze_at_all_is_no_features(encoder: Encoder) -> None:
    output = encoder(video(1, 2), gaze([[[], []]]))
    assert output.last_hidden_state.shape == (0, 64)
    assert not output.clip_features.any()


def test_bfloat16_is_near(encoder: Encoder) -> None:
    pixels, info = video(2, 3), gaze(CLIPS)
    rounded = load_encoder(SIGLIP, dtype="bfloat16")(pixels, info)
    assert rounded.last_hidden_state.dtype == torch.bfloat16
    exact = encoder(pixels, info).last_hidden_state
    assert F.cosine_similarity(rounded.last_hidden_state.float(), exact).min() > 0.999


# Pixels.


@pytest.mark.parametrize(("source", "target"), [(224, 32), (224, 64), (224, 112), (224, 392)])
def test_taps_are_the_bicubic_resize(source: int, target: int) -> None:
    line = torch.randn(1, 1, 1, source, generator=torch.Generator().manual_seed(target))
    wanted = F.interpolate(line, (1, target), mode="bicubic", align_corners=False)[0, 0, 0]
    taps = Taps.identity(source).then(Taps.bicubic(source, target))
    ours = (line[0, 0, 0].numpy()[taps.index] * taps.weight).sum(axis=1)
    assert np.abs(ours - wanted.numpy()).max() < 1e-5
    assert taps.index.shape[1] == (1 if (source, target) == (224, 32) else 4)


def header(mode: str = "resize", **changes: Any) -> TraceHeader:
    plain = TraceHeader(
        source="clip",
        source_width=0,
        source_height=0,
        width=0,
        height=0,
        fps=Fraction(8),
        mask_source="autogaze",
        model="m",
        model_sha256=None,
        scales="32+64+112+224",
        num_vision_tokens_each_frame=265,
        mode=mode,
        tile_size=224,
        stride=224,
        tile_count=1,
        settings={},
        tool_version="0",
    )
    return replace(plain, **changes)


def trace(about: TraceHeader, ids: list[list[tuple[int, int]]]) -> Trace:
    """A trace of frames with (tile, id) pairs; later ones are surer, so files list them first."""
    layout = encoder_layout("32+64+112+224", 224, 16)
    frames = []
    for t, pairs in enumerate(ids):
        fixations = layout.fixations(
            [n for _, n in pairs], np.linspace(0.5, 0.9, len(pairs)), tile=[k for k, _ in pairs]
        )
        frames.append(
            FrameTrace(
                index=t,
                time=Fraction(t, 8),
                fixations=fixations.select(np.argsort(-fixations.confidence)),
                stop_probability=0.0,
                num_gazing=np.full(about.tile_count, len(pairs), np.int32),
            )
        )
    return Trace.from_frames(about, frames)


def frames(count: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, height, width, 3), np.uint8)


def normalised(pictures: NDArray[np.uint8]) -> Tensor:
    """As the processor of the checkpoint does: mean and standard deviation 0.5."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)[None].float() / 127.5 - 1


def same(a: EncoderOutput, b: EncoderOutput) -> bool:
    return close(a.last_hidden_state, b.last_hidden_state) and torch.equal(a.coords, b.coords)


def test_a_trace_is_the_gaze_that_it_was_saved_from(encoder: Encoder) -> None:
    pictures = frames(3, 224, 224)
    saved = trace(header(), [[(0, n) for n in t] for t in CLIPS[0]])
    assert same(encoder(pictures, saved), encoder(normalised(pictures), gaze([CLIPS[0]])))


@pytest.mark.parametrize("mode", ["tiled", "tiled-full"])
def test_tiles_are_those_of_the_gaze_model(encoder: Encoder, mode: Any) -> None:
    pictures = frames(2, 230, 470)
    layout = TileLayout(mode=mode, height=230, width=470)
    about = header(mode, tile_count=len(layout))
    assert len(layout) == 6
    ids = [[(0, 0), (2, 264), (2, 69), (5, 68), (5, 200)], [(4, 19), (3, 3)]]
    by_tile: list[list[list[int]]] = [
        [[n for tile, n in frame if tile == k] for frame in ids] for k in range(6)
    ]
    cut = cut_tiles(torch.from_numpy(pictures), layout, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert same(encoder(pictures, trace(about, ids)), encoder(cut, gaze(by_tile)))


def test_a_larger_encoder_takes_all_patches_of_a_cell(encoder: Encoder) -> None:
    large = load_encoder(SIGLIP, scales="64+128+224+448")
    pictures = frames(1, 448, 448)
    output = large(pictures, trace(header(), [[(0, 264), (0, 2)]]))
    assert output.scale.tolist() == [448] * 4 + [64] * 4
    assert output.coords[:, 2:].tolist() == [
        *([26, 26], [26, 27], [27, 26], [27, 27]),
        *([2, 0], [2, 1], [3, 0], [3, 1]),
    ]


def test_cells_of_patch_diff_are_patches_of_the_finest_scale(encoder: Encoder) -> None:
    about = header("tiled", mask_source="patch-diff", scales=None, model=None)
    about = replace(about, num_vision_tokens_each_frame=None)
    cells = Fixations.from_columns(
        {name: [0.5, 0.5] for name in ("x", "y", "width", "height")}
        | {"grid": [7, 7], "token": [0, 48]}
    )
    one = FrameTrace(
        index=0,
        time=Fraction(0),
        fixations=cells,
        stop_probability=1.0,
        num_gazing=np.array([2], np.int32),
    )
    output = encoder(frames(1, 100, 300), Trace.from_frames(about, [one]))
    assert set(output.scale.tolist()) == {224}
    assert output.coords[:, 2:].tolist() == [
        *([0, 0], [0, 1], [1, 0], [1, 1]),
        *([12, 12], [12, 13], [13, 12], [13, 13]),
    ]


# Errors.


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ("30+224", "scale 30 cannot be divided into patches of 16 pixels"),
        ("32+32+224", "has the same scale twice"),
        ("a+b", "must be whole numbers"),
    ],
)
def test_scales_that_cannot_be(scales: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_encoder(SIGLIP, scales=scales)


def test_gaze_that_does_not_fit(encoder: Encoder) -> None:
    info = gaze(CLIPS)
    with pytest.raises(ConfigError, match=r"pixel_values must be \[b, t, 3, 224, 224\]"):
        encoder(video(2, 3, side=112), info)
    with pytest.raises(ConfigError, match="the gaze is at 2 clips of 3 frames"):
        encoder(video(1, 3), info)
    coarse = load_encoder(SIGLIP, scales="32+64")
    with pytest.raises(ConfigError, match=r"scales 32\+64 have 20 ids, from 0 on"):
        coarse(video(2, 3, side=64), info)
    with pytest.raises(ConfigError, match="does not fit an encoder of 2\\+4 patches"):
        coarse(frames(1, 64, 64), trace(header(), [[(0, 1)]]))
    with pytest.raises(ConfigError, match="the trace has 3 tiles, and frames of 470x230 have 6"):
        encoder(frames(1, 230, 470), trace(header("tiled", tile_count=3), [[(0, 1)]]))
    with pytest.raises(ConfigError, match="attend must be one of"):
        load_encoder(SIGLIP, attend="all")  # type: ignore[arg-type]


def broken(folder: Path, change: Any = None, **config: Any) -> Path:
    """The checkpoint with another configuration, or other weights."""
    shutil.copytree(SIGLIP, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    if change is not None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")
    return folder


def test_checkpoints_that_are_no_encoders(tmp_path: Path) -> None:
    def drop(weights: dict[str, Tensor]) -> None:
        del weights["vision_model.encoder.layers.1.mlp.fc2.bias"]

    def text_only(weights: dict[str, Tensor]) -> None:
        weights.clear()
        weights["text_model.a"] = torch.zeros(1)

    def overflow(weights: dict[str, Tensor]) -> None:
        weights["vision_model.encoder.layers.1.mlp.fc2.bias"][3] = float("inf")

    cases = {
        "a": (broken(tmp_path / "a", model_type="bert"), "is of model_type 'bert'"),
        "b": (
            broken(tmp_path / "b", hidden_size=80),
            r"position is \[196, 64\], and",
        ),
        "c": (broken(tmp_path / "c", drop), "layers.1.mlp.fc2.bias is missing"),
        "d": (broken(tmp_path / "d", text_only), "has no vision weights"),
        "e": (broken(tmp_path / "e", num_attention_heads=5), "must be a multiple of"),
        "f": (tmp_path / "none", "no such encoder"),
        "g": (broken(tmp_path / "g", image_size=[224, 112]), r"image_size is \[224, 112\], not"),
        "h": (broken(tmp_path / "h", num_hidden_layers=10**9), "num_hidden_layers is 1000000000"),
        "i": (broken(tmp_path / "i", hidden_size=True), "hidden_size is True, not an integer"),
        "j": (broken(tmp_path / "j", layer_norm_eps=0), "layer_norm_eps is 0, not a number"),
        "k": (broken(tmp_path / "k", model_type=["vit"]), r"is of model_type \['vit'\]"),
        "l": (broken(tmp_path / "l", overflow), "fc2.bias has values that are not finite"),
    }
    for folder, message in cases.values():
        with pytest.raises(ModelError, match=message):
            load_encoder(folder)
    with pytest.raises(ModelError, match="is a gaze model, not an encoder"):
        load_encoder("kestrel")


def test_an_id_in_the_hub_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    shutil.copytree(SIGLIP, tmp_path / "models--google--tiny" / "snapshots" / "abc")
    encoder, folder = load_encoder("google/tiny"), load_encoder(SIGLIP)
    assert (encoder.name, encoder.sha256) == ("google/tiny", folder.sha256)


def test_a_processor_says_how_pixels_are_normalised(tmp_path: Path) -> None:
    folder = broken(tmp_path / "a")
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.2, 0.3, 0.4], "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    pixels = load_encoder(folder).cut_frames(
        np.full((1, 224, 224, 3), (51, 102, 153), np.uint8),
        list(trace(header(), [[(0, 100)]])),
        header(),
    )
    mean = pixels.pixels.mean(dim=(0, 2, 3, 4))
    assert close(mean, torch.tensor([0.5, 2 / 3, 0.75]))
    (folder / "preprocessor_config.json").write_text('{"image_std": [0, 1, 1]}')
    with pytest.raises(ModelError, match="is not a processor's configuration"):
        load_encoder(folder)


def test_weights_in_several_files_are_one_model(tmp_path: Path) -> None:
    folder = broken(tmp_path / "parts")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: weights[name] for name in own}, folder / file)
    index = {"weight_map": {name: file for file, own in parts.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    ours, whole = read_encoder(folder)[0].state_dict(), read_encoder(SIGLIP)[0].state_dict()
    assert ours.keys() == whole.keys()
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


@pytest.mark.parametrize("name", ["none.safetensors", "a\0b", "\ud800", "..", ""])
def test_an_index_that_names_what_is_no_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(SIGLIP, folder)
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match=r"index\.json: names '.*', which is no file there"):
        load_encoder(folder)


def test_a_gaze_output_says_which_scales_its_ids_are_of() -> None:
    large = load_encoder(SIGLIP, scales="64+128+224+448")
    pictures = frames(2, 448, 448)
    ids = [[[264, 2], [70]]]
    output = SimpleNamespace(
        **gaze(ids), num_vision_tokens_each_frame=265, scales=(32, 64, 112, 224)
    )
    saved = trace(header(), [[(0, n) for n in t] for t in ids[0]])
    assert same(large(normalised(pictures), output), large(pictures, saved))


def test_tiles_need_no_trace(encoder: Encoder) -> None:
    pictures = frames(1, 230, 470)
    layout = TileLayout(mode="tiled", height=230, width=470)
    by_tile = [[[k, 100 + k]] for k in range(6)]
    ids = [[(k, n) for k in range(6) for n in by_tile[k][0]]]
    output = encoder.encode(encoder.cut_tiles(pictures, gaze(by_tile), layout))
    assert same(output, encoder(pictures, trace(header("tiled", tile_count=6), ids)))
    with pytest.raises(ConfigError, match=r"frames must be uint8 \[t, h, w, 3\], not float32"):
        encoder.cut_tiles(torch.zeros(1, 230, 470, 3), gaze(by_tile), layout)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("attend", ATTEND)
def test_a_gpu_gives_what_a_cpu_gives_captured_or_not(attend: Attend) -> None:
    pixels, info = video(2, 3), gaze(CLIPS)
    wanted = load_encoder(SIGLIP, attend=attend)(pixels, info)
    encoder = load_encoder(SIGLIP, attend=attend, device="cuda")
    for _ in range(3):  # as it comes, captured, replayed
        output = encoder(pixels, info)
        assert close(output.last_hidden_state.cpu(), wanted.last_hidden_state, 1e-4)
        assert close(output.clip_features.cpu(), wanted.clip_features, 1e-4)
    other = video(2, 3).flip(1)
    again = encoder(other, info)  # the same shape, other pictures
    assert close(
        again.last_hidden_state.cpu(),
        load_encoder(SIGLIP, attend=attend)(other, info).last_hidden_state,
        1e-4,
    )


def test_the_benchmark_runs(tmp_path: Path) -> None:
    small = "clip figure8 --device cpu --dtype float32 --width 224 --height 224 --repeats 1"
    tiny = "--encoder tiny 32+64+112+224 --figure8-encoder tiny --max-size 0 --model"
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "scripts.bench_encoders", *small.split(), *tiny.split()),
            *(SIGLIP.parents[1] / "parity-tiny", "--json", path),
        ],
        cwd=SIGLIP.parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = json.loads(path.read_text())["clip"]
    assert row["dense_tokens"] == 16 * 196
    assert 0 < row["tokens"] <= 16 * 265
    assert f"| {row['what']} |" in done.stdout
