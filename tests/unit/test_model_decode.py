"""The decode loop's bookkeeping and selection against the specification's worked examples."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.cache import MAX_DROPPED, KVCache
from autogaze_cli.model.choose import Chooser
from autogaze_cli.model.config import GazeConfig, RopeConfig
from autogaze_cli.model.decode import Decoder
from autogaze_cli.model.layers import Linear
from autogaze_cli.model.native import NativeLayers, instruction_set
from autogaze_cli.model.network import GazeDecoder, rotary_frequencies
from autogaze_cli.model.packed import PackedLayers

needs_native = pytest.mark.skipif(
    instruction_set() is None, reason="the compiled layers are not built"
)


def small_config(ids_side: int, k: int, vision_side: int = 2) -> GazeConfig:
    return GazeConfig(
        layout=ScaleLayout.from_config(ids_side, ids_side**2, 1),
        input_img_size=vision_side,
        kernel_size=1,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=4,
        num_multi_token_pred=k,
    )


# Inference spec 11.2: V = 5, EOS = 4, K = 3, budget 6.
LOGITS = np.array([[2, 5, 1, 0, 9], [0, 8, 3, 3, 9], [7, 6, 5, 1, 0]], np.float32)


ROW = np.array([0])


def step(chooser: Chooser, scores: Any = LOGITS, losses: Any = (9, 9, 9)) -> tuple[list[int], bool]:
    scores = np.asarray(scores, np.float32)
    losses = np.asarray(losses, np.float32)[None, : len(scores)]
    (chunk,), (running,) = chooser.step(ROW, scores[None], losses)
    return chunk.tolist(), bool(running)


def test_a_slot_whose_predicted_loss_is_low_enough_is_padded_but_never_the_first() -> None:
    chooser = Chooser(small_config(2, 3), 1, 6, 0.5)
    assert step(chooser, losses=[0.1, 0.9, 0.4]) == ([1, 2], False)
    gaze = chooser.gaze()
    assert gaze.ids.tolist() == [[1, 2, 4]]
    assert gaze.padded.tolist() == [[False, False, True]]
    assert gaze.confidences[0].tolist() == pytest.approx([0.930370, 0.487856, 0.0], abs=1e-6)


def test_padding_is_judged_slot_by_slot() -> None:
    chooser = Chooser(small_config(2, 3), 1, 6, 0.5)
    assert step(chooser, losses=[0.1, 0.4, 0.9]) == ([1, 0], False)
    assert chooser.gaze().ids.tolist() == [[1, 4, 0]]


def test_without_a_threshold_the_frame_ends_when_ids_are_exhausted() -> None:
    chooser = Chooser(small_config(2, 3), 1, 6)
    assert step(chooser) == ([1, 2, 0], True)
    assert step(chooser) == ([3], False)
    assert chooser.gaze().ids.tolist() == [[1, 2, 0, 3]]


def test_the_budget_cuts_a_chunk() -> None:
    assert step(Chooser(small_config(2, 3), 1, 2, 0.5)) == ([1, 2], False)


def test_a_threshold_is_inclusive_and_nan_never_meets_it() -> None:
    chooser = Chooser(small_config(2, 3), 1, 6, 0.5)
    assert step(chooser, losses=[9, 0.5, np.nan]) == ([1, 0], False)


def test_scores_that_are_not_finite_are_never_chosen() -> None:
    chooser = Chooser(small_config(2, 1), 1, 4)
    assert step(chooser, [[np.nan, np.inf, -1, -2, 0]]) == ([2], True)
    assert step(chooser, [[np.nan] * 5]) == ([], False)
    assert chooser.gaze().ids.tolist() == [[2]]


def test_a_confidence_that_overflows_is_one() -> None:
    chooser = Chooser(small_config(2, 1), 1, 4)
    step(chooser, [[500, 400, 0, 0, 0]])
    assert chooser.gaze().confidences.tolist() == [[1.0]]


def test_the_row_ends_with_the_chunk_that_covers_enough() -> None:
    chooser = Chooser(small_config(2, 1), 1, 4, coverage=0.5)
    assert step(chooser, [[4, 3, 2, 1, 0]]) == ([0], True)
    assert step(chooser, [[4, 3, 2, 1, 0]]) == ([1], False)
    assert not chooser.gaze().padded.any()


def test_rows_are_judged_apart() -> None:
    config = small_config(2, 3)
    batch = Chooser(config, 2, 6, 0.5)
    losses = np.array([[0.1, 0.9, 0.4], [9, 9, 9]], np.float32)
    chunks, running = batch.step(np.arange(2), np.stack([LOGITS, LOGITS[::-1]]), losses)
    assert [chunk.tolist() for chunk in chunks] == [[1, 2], [0, 1, 2]]
    assert running.tolist() == [False, True]
    chunks, running = batch.step(np.array([1]), LOGITS[None], losses[1:])
    assert [chunk.tolist() for chunk in chunks] == [[3]]
    assert batch.gaze().ids.tolist() == [[1, 2, 4, 4], [0, 1, 2, 3]]
    assert batch.gaze().padded[0].tolist() == [False, False, True, True]
    assert batch.gaze().counts.tolist() == [3, 4]


class Recording(Decoder):
    """Keeps what every call was fed, and what the heads made of it."""

    def __init__(self, module: GazeDecoder, config: GazeConfig) -> None:
        super().__init__(module, config)
        self.fed: list[tuple[Tensor, NDArray[np.int64]]] = []
        self.scores: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    def run(
        self, x: Tensor, positions: NDArray[np.int64], caches: Any, lengths: list[int]
    ) -> Tensor:
        self.fed.append((x, positions))
        return super().run(x, positions, caches, lengths)

    def heads(self, hidden: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.scores.append(super().heads(hidden))
        return self.scores[-1]


@pytest.mark.parametrize(
    ("kv_heads", "head_dim", "bias", "layers"),
    [
        (4, 4, False, PackedLayers),
        (2, 6, True, PackedLayers),
        pytest.param(4, 32, False, NativeLayers, marks=needs_native),
        pytest.param(4, 32, True, NativeLayers, marks=needs_native),
    ],
)
def test_the_decode_loop_equals_the_plain_forward(
    kv_heads: int, head_dim: int, bias: bool, layers: type
) -> None:
    config = replace(
        small_config(4, 2, vision_side=4),
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        attention_bias=bias,
        mlp_bias=bias,
    )
    torch.manual_seed(1)
    module = GazeDecoder(config).requires_grad_(False)
    for parameter in module.parameters():
        parameter.normal_(0.2, 0.4)
    decoder = Recording(module, config)
    assert isinstance(decoder.layers, layers)
    (cache,) = decoder.new_caches(1, 0)
    for budget in (9, 1, 12):  # an odd one leaves half a chunk for the next frame
        decoder.frame([cache], torch.randn(1, 16, 8), budget, None)
    assert len(decoder.fed) == 5 + 1 + 6
    # Every token is fed once, so one pass over all of them gives the same scores.
    x = torch.cat([x for x, _ in decoder.fed])[None]
    positions = torch.from_numpy(np.concatenate([positions for _, positions in decoder.fed]))[None]
    logits, losses = module(x, positions, torch.ones(x.shape[:2], dtype=torch.bool))
    ends = np.cumsum([len(x) for x, _ in decoder.fed]) - 1
    for end, (our_logits, our_losses) in zip(ends, decoder.scores, strict=True):
        np.testing.assert_allclose(our_logits[0], logits[0, end], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(our_losses[0], losses[0, end], atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing_in_the_plain_forward() -> None:
    torch.manual_seed(2)
    module = GazeDecoder(small_config(4, 2)).requires_grad_(False)
    x, positions = torch.randn(2, 9, 8), torch.arange(9).expand(2, 9)
    real = torch.ones(2, 9, dtype=torch.bool)
    real[:, [3, 7]] = False
    logits, losses = module(x, positions, real)
    alone = module(x[:, real[0]], positions[:, real[0]], real[:, real[0]])
    torch.testing.assert_close(logits[:, real[0]], alone[0])
    torch.testing.assert_close(losses[:, real[0]], alone[1])


@pytest.mark.parametrize("columns", [7, 192, 384])
def test_few_rows_of_a_product_equal_the_same_rows_among_many(columns: int) -> None:
    torch.manual_seed(3)
    linear = Linear((torch.randn(40, columns), torch.randn(40)), norm=torch.rand(columns))
    x, add = torch.randn(64, columns), torch.randn(64, 40)
    many, added = linear(x), linear(x, add)
    for n in (1, 2, 5, 11, 15, 16, 17):
        assert torch.equal(linear(x[:n]), many[:n])
        assert torch.equal(linear(x[:n], add[:n]), added[:n])


def test_tokens_are_taken_out_of_the_cache_in_either_layout() -> None:
    def cache(block: int) -> KVCache:
        torch.manual_seed(4)
        keys, values = torch.randn(2, 32, 4), torch.randn(2, 32, 4)
        if block > 1:
            keys = keys.view(2, 32 // block, block, 4).transpose(2, 3).contiguous()
        return KVCache(keys=[keys], values=[values], block=block, start=2, end=21)

    keep = np.array([True, False, False, True, True, False, True])
    plain, blocked = cache(1), cache(8)
    wanted = [*range(2, 14), 14, 17, 18, 20]
    keys, values = plain.keys[0][:, wanted], plain.values[0][:, wanted]
    for one in (plain, blocked):
        one.keep_of_last(keep)
        assert (one.start, one.end) == (2, 18)
        assert torch.equal(one.visible(0)[1], values)
    assert torch.equal(plain.visible(0)[0], keys)
    assert torch.equal(blocked.keys[0].transpose(2, 3).reshape(2, 32, 4)[:, 2:18], keys)


def filled(count: int, capacity: int, block: int = 1) -> KVCache:
    """A cache whose token ``i`` has the key ``i`` and the value ``-i`` everywhere."""
    keys = torch.arange(capacity).float()[None, :, None].expand(2, -1, 4).clone()
    values = -keys
    if block > 1:
        keys = keys.view(2, capacity // block, block, 4).transpose(2, 3).contiguous()
    return KVCache(keys=[keys], values=[values], block=block, end=count)


def held(cache: KVCache) -> list[int]:
    """The tokens that a query sees, by their values and, which must be the same, their keys."""
    keys, (_, values) = cache.keys[0], cache.visible(0)
    if cache.block > 1:
        keys = keys.transpose(2, 3).reshape(2, -1, 4)
    seen = keys[:, cache.start : cache.end]
    assert torch.equal(seen, -values)
    return [int(value) for value in seen[1, :, 3]]


@pytest.mark.parametrize("block", [1, 8])
def test_a_cache_grows_only_where_it_must(block: int) -> None:
    cache = filled(20, 32, block)
    cache.reserve(12)
    assert (cache.values[0].shape[1], cache.end) == (32, 20)
    cache.start = 17
    cache.reserve(13)  # the visible ones move to the front, in whole blocks
    first = 17 if block == 1 else 16
    assert (cache.values[0].shape[1], cache.dropped) == (32, first)
    assert (cache.start, cache.end) == (17 - first, 20 - first)
    assert held(cache) == [17, 18, 19]
    assert cache.next_position == 20
    cache.reserve(32 - cache.end)
    assert cache.values[0].shape[1] == 32
    if block == 1:
        cache.start, cache.dropped = 1, 16
        cache.reserve(30)  # exactly as many as there is room for
        assert (cache.values[0].shape[1], cache.start, cache.end) == (32, 0, 2)
        assert held(cache) == [18, 19]
        return
    cache.reserve(40)
    assert cache.values[0].shape[1] == 64  # twice as many
    assert held(cache) == [17, 18, 19]
    cache.reserve(90)
    needed = cache.end + 90
    assert cache.values[0].shape[1] == max(128, needed + -needed % block)
    cache.reserve(200)
    assert cache.values[0].shape[1] == max(256, cache.end + 200)
    assert held(cache) == [17, 18, 19]
    assert cache.keys[0].numel() == cache.values[0].numel()
    cache.reserve(700)  # more than twice as many, and whole blocks of them
    needed = cache.end + 700
    assert cache.values[0].shape[1] == needed + -needed % block


def test_frames_are_forgotten_oldest_first() -> None:
    cache = filled(20, 32)
    cache.frames = [5, 6, 7]
    cache.forget(4)
    assert (cache.start, cache.frames) == (0, [5, 6, 7])
    cache.forget(3)  # two and the frame to come
    assert (cache.start, cache.frames) == (5, [6, 7])
    cache.forget(1)
    assert (cache.start, cache.frames) == (18, [])
    cache.frames = [9]  # a frame whose last chunk is still to come has fewer tokens than it says
    cache.forget(1)
    assert (cache.start, cache.frames) == (20, [])
    assert held(cache) == []


@pytest.mark.parametrize("block", [1, 8])
def test_positions_of_a_long_stream_start_again_at_zero(block: int) -> None:
    frequencies = torch.tensor([1.0, 0.25])
    cache = filled(20, 32, block)
    cache.start = 9
    before = cache.keys[0].clone()
    cache.dropped = MAX_DROPPED - 1
    cache.move_back(frequencies)
    assert cache.dropped == MAX_DROPPED - 1
    assert torch.equal(cache.keys[0], before)
    cache.dropped = MAX_DROPPED
    cache.move_back(frequencies)
    assert cache.next_position == 20
    key = cache.keys[0].transpose(2, 3).reshape(2, -1, 4) if block > 1 else cache.keys[0]
    # Pairs (i, i), rotated by so many radians backwards.
    for i in range(9, 20):
        for pair, frequency in enumerate((1.0, 0.25)):
            turned = complex(i, i) * cmath.exp(-1j * frequency * MAX_DROPPED)
            found = complex(*key[1, i, 2 * pair : 2 * pair + 2].tolist())
            assert found == pytest.approx(turned, abs=1e-4)
    assert torch.equal(cache.values[0], -filled(20, 32).keys[0])


def test_capacity_is_whole_blocks_and_no_less_than_asked_for() -> None:
    config = replace(small_config(4, 2), head_dim=32)
    decoder = Decoder(GazeDecoder(config).requires_grad_(False), config)
    block = decoder.layers.key_block
    for asked in (0, 1, 8, 9, 33):
        one, two = decoder.new_caches(2, asked)
        capacity = one.values[0].shape[1]
        assert capacity % block == 0
        assert asked <= capacity < asked + block
        assert one.keys[0].numel() == one.values[0].numel() == 2 * capacity * 32
        assert len(one.keys) == len(two.values) == 2
        assert one.keys[0].data_ptr() != two.keys[0].data_ptr() or not capacity


def test_positions_stay_below_what_float32_tells_apart() -> None:
    """At 65,536 half a step of float32 is 0.004 radians."""
    assert MAX_DROPPED == 65_536
    assert np.spacing(np.float32(MAX_DROPPED)) / 2 == pytest.approx(0.004, abs=1e-4)


def two_frames(rows: Sequence[int], **options: Any) -> list[list[list[int]]]:
    """Ids of some of two sequences in two frames; the first sequence ends its first frame early."""
    config = small_config(4, 2)
    torch.manual_seed(0)
    module = GazeDecoder(config).requires_grad_(False)
    for parameter in module.parameters():
        parameter.normal_(0.2, 0.4)
    frames = torch.randn(3, 2, 4, 8)[:2]
    decoder = Decoder(module, config)
    caches = decoder.new_caches(len(rows), 0)
    gazes = [decoder.frame(caches, frame[list(rows)], 12, 0.0, **options) for frame in frames]
    return [
        [gaze.ids[row, : gaze.counts[row]].tolist() for gaze in gazes] for row in range(len(rows))
    ]


def test_sequences_are_coupled_only_if_that_is_asked_for() -> None:
    """Inference spec 3.8: a sequence that ends before others of its batch feeds its last chunk."""
    (early,), (late,) = two_frames([0]), two_frames([1])
    assert (len(early[0]), len(late[0])) == (2, 12)
    assert two_frames([0, 1]) == [early, late]
    coupled = two_frames([0, 1], coupled=True)
    assert coupled[1] == late
    assert coupled[0][0] == early[0]
    assert coupled[0][1] != early[1]
    assert two_frames([0], coupled=True) == [early]


def test_of_a_chunk_that_ended_its_valid_tokens_stay() -> None:
    """Inference spec 3.6 steps 10 to 14: padding is fed, and hidden from the next frame on."""
    config = small_config(4, 2)
    decoder = Scripted("", config)
    ended, plain = decoder.new_caches(2, 9)
    decoder.prefill([ended], torch.randn(1, 4, 8))
    decoder.feed_ended([(ended, np.array([3, config.eos_token_id]))])
    assert (ended.end, ended.pending.tolist()) == (5, [])
    decoder.run(decoder.weights.embed[[3]], np.array([2]), [plain], [1])
    # The first layer's values depend on the token alone.
    torch.testing.assert_close(ended.visible(0)[1][:, 4:], plain.visible(0)[1])
    decoder.feed_ended([])
    assert len(decoder.calls) == 3


def test_the_last_chunk_of_a_sequence() -> None:
    chooser = Chooser(small_config(2, 3), 1, 6, 0.5)
    step(chooser, losses=[0.9, 0.4, 0.9])
    assert chooser.last_chunk(0, 3).tolist() == [1, 4, 0]
    assert chooser.last_chunk(0, 2).tolist() == [4, 0]


def test_the_first_token_of_a_frame_alone_is_never_suppressed() -> None:
    chooser = Chooser(small_config(2, 1), 1, 4, 0.5)
    assert step(chooser, LOGITS[:1], losses=[0.1]) == ([1], True)
    assert step(chooser, LOGITS[:1], losses=[0.1]) == ([], False)
    assert chooser.gaze().padded.tolist() == [[False, True]]


def test_a_budget_is_never_above_the_ids_of_a_frame() -> None:
    chooser = Chooser(small_config(2, 1), 1, 99)
    for token, goes_on in ((1, True), (0, True), (2, True), (3, False)):
        assert step(chooser, LOGITS[:1]) == ([token], goes_on)


def test_confidence_is_the_probability_among_what_is_left() -> None:
    """Inference spec 4.2: the maximum is not subtracted, and what underflows counts as 1."""
    chooser = Chooser(small_config(2, 1), 1, 4)
    step(chooser, [[0, 0, 0, 0, 50]])  # the padding id is no choice
    step(chooser, [[9, 0, 0, 0, 50]])
    step(chooser, [[9, 9, -200, -300, 50]])
    assert chooser.gaze().ids.tolist() == [[0, 1, 2]]
    assert chooser.gaze().confidences[0].tolist() == pytest.approx([1 / 4, 1 / 3, 1])


class Scripted(Decoder):
    """A decoder whose chunks are given; P stands for a slot that is padded."""

    def __init__(self, script: str, config: GazeConfig) -> None:
        torch.manual_seed(0)
        super().__init__(GazeDecoder(config).requires_grad_(False), config)
        self.script = iter(script.split())
        self.calls: list[tuple[list[int], int]] = []

    def run(self, x: Tensor, positions: NDArray[np.int64], rows: Any, lengths: Any) -> Tensor:
        self.calls.append((positions.tolist(), rows[0].end - rows[0].start))
        return super().run(x, positions, rows, lengths)

    def heads(self, hidden: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chunk = next(self.script)
        logits = np.zeros((1, 2, self.config.vocab_size), np.float32)
        losses = np.ones((1, 2), np.float32)
        for i, letter in enumerate(chunk):
            if letter == "P":
                losses[0, i] = 0
                logits[0, i, 15] = 9
            else:
                logits[0, i, ord(letter) - ord("a")] = 9
        return logits, losses


def play(script: list[str], horizon: int | None) -> tuple[Scripted, KVCache]:
    config = small_config(4, 2)
    decoder = Scripted(" ".join(script), config)
    (row,) = decoder.new_caches(1, 0)
    for frame in script:
        tokens = 2 * len(frame.split())
        decoder.frame([row], torch.randn(1, 4, 8), tokens, 0.5, horizon=horizon)
    return decoder, row


def test_positions_of_the_specification_example() -> None:
    # Inference spec 3.6: frame 0 gives a, b, c, P; frame 1 gives d, e, f, g, h, with the chunks of
    # a frame on the positions of its last two vision tokens.
    decoder, _ = play(["ab cP", "de fg hP", "ii"], None)
    assert decoder.calls == [
        ([0, 1, 2, 3], 0),
        ([2, 3], 4),
        ([6, 7, 8, 9, 10], 6),
        ([9, 10], 11),
        ([9, 10], 13),
        ([15, 16, 17, 18, 19], 15),
    ]


def test_rolling_window_of_the_specification_example() -> None:
    # Inference spec 7.2: vision tokens 4, budget 4, K = 2, horizon 2. The padded slots that the
    # example feeds again, and hides, are not fed here.
    decoder, row = play(["ab cP", "dP", "ef gh", "ij"], 2)
    assert decoder.calls == [
        ([0, 1, 2, 3], 0),
        ([2, 3], 4),
        ([6, 7, 8, 9, 10], 6),
        ([11, 12, 13, 14, 15], 4),
        ([14, 15], 9),
        ([18, 19, 20, 21, 22, 23], 6),
    ]
    assert row.dropped + row.start == 12


def test_horizon_of_one_still_shows_the_pending_chunk() -> None:
    decoder, _ = play(["ab cd", "ef gh"], 1)
    assert decoder.calls[2] == ([6, 7, 8, 9, 10, 11], 0)


def test_rotary_frequencies() -> None:
    rope = RopeConfig(theta=500000.0, llama3=True, factor=8.0)
    wanted = [
        1.0, 4.403666258e-01, 1.939227581e-01, 8.539710194e-02, 3.760603070e-02, 1.656044088e-02,
        7.292665076e-03, 3.211446106e-03, 5.248460220e-04, 7.784655463e-05, 3.428102355e-05,
        1.509621779e-05, 6.647869668e-06, 2.927499736e-06, 1.289173156e-06, 5.677088097e-07,
    ]  # fmt: skip
    assert rotary_frequencies(32, rope).tolist() == pytest.approx(wanted, rel=1e-6)
    plain = rotary_frequencies(32, RopeConfig(theta=500000.0))
    assert plain[8].item() == pytest.approx(1.414213446e-03, rel=1e-6)


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_long_stream_keeps_its_cache_small(horizon: int) -> None:
    _, row = play(["ab cd"] * 40, horizon)
    assert row.end - row.start <= horizon * 8
    assert row.keys[0].shape[1] <= 4 * (horizon + 1) * 8
