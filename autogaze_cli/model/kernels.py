"""Triton kernels of the GPU decoder. Import only where Triton and a GPU are.

A row is one clip or stream. ``limit`` is a slot's index in its row's cache, which is also the last
key that it may see, or -1 for a slot that is not there. Sizes that a kernel is compiled for are
upper case.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rotate_and_cache(
    qkv, q_out, keys, values, limit, position, turns,
    capacity, SLOTS: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One slot: rotate its query and key, and put key and value where ``limit`` says."""
    slot = tl.program_id(0)
    row = slot // SLOTS
    at = tl.load(limit + slot)
    head = tl.arange(0, triton.next_power_of_2(HEADS))[:, None]
    pair = tl.arange(0, D // 2)[None, :]
    here = head < HEADS
    angle = tl.load(position + slot) * D + 2 * pair
    cos, sin = tl.load(turns + angle), tl.load(turns + angle + 1)
    base = qkv + slot * 3 * HEADS * D
    even = head * D + 2 * pair
    inside = here & (pair >= 0)
    a = tl.load(base + even, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(base + even + 1, mask=inside, other=0.0).to(tl.float32)
    out = q_out + slot * HEADS * D
    tl.store(out + even, (a * cos - b * sin).to(q_out.dtype.element_ty), mask=inside)
    tl.store(out + even + 1, (a * sin + b * cos).to(q_out.dtype.element_ty), mask=inside)
    inside = inside & (at >= 0)
    base += HEADS * D
    a = tl.load(base + even, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(base + even + 1, mask=inside, other=0.0).to(tl.float32)
    place = ((row * HEADS + head).to(tl.int64) * capacity + at) * D + 2 * pair
    tl.store(keys + place, (a * cos - b * sin).to(keys.dtype.element_ty), mask=inside)
    tl.store(keys + place + 1, (a * sin + b * cos).to(keys.dtype.element_ty), mask=inside)
    base += HEADS * D
    tl.store(values + place, tl.load(base + even, mask=inside, other=0.0), mask=inside)
    tl.store(values + place + 1, tl.load(base + even + 1, mask=inside, other=0.0), mask=inside)


@triton.jit
def attend(
    q, keys, values, limit, out, partial, norms, scale,
    capacity, SLOTS: tl.constexpr, STRIDE: tl.constexpr, FIRST: tl.constexpr,
    HEADS: tl.constexpr, D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SPLITS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Some slots of one row and head over a share of its keys: online softmax.

    ``limit`` has STRIDE entries a row, of which the SLOTS from FIRST on are asked.
    """
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    block, split = tl.program_id(1), tl.program_id(2)
    m = block * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, D)
    last = tl.load(limit + row * STRIDE + FIRST + m, mask=m < SLOTS, other=-1)
    visible = tl.max(last, 0) + 1
    share = tl.cdiv(tl.cdiv(visible, BLOCK_N), SPLITS) * BLOCK_N
    low = split * share
    high = tl.minimum(low + share, visible)
    place = (row * STRIDE + FIRST + m)[:, None] * HEADS * D + head * D + d[None, :]
    queries = tl.load(q + place, mask=(m < SLOTS)[:, None], other=0.0)
    start = (row * HEADS + head).to(tl.int64) * capacity * D
    top = tl.full([BLOCK_M], -1e30, tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, D], tl.float32)
    for n0 in range(low, high, BLOCK_N):
        n = n0 + tl.arange(0, BLOCK_N)
        inside = n < high
        k = tl.load(keys + start + n[None, :] * D + d[:, None], mask=inside[None, :], other=0.0)
        v = tl.load(values + start + n[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        scores = tl.dot(queries, k, input_precision=PRECISION) * scale
        scores = tl.where((n[None, :] <= last[:, None]) & inside[None, :], scores, -1e30)
        new_top = tl.maximum(top, tl.max(scores, 1))
        weights = tl.where(scores > -1e29, tl.exp(scores - new_top[:, None]), 0.0)
        decay = tl.exp(top - new_top)
        total = total * decay + tl.sum(weights, 1)
        mixed = mixed * decay[:, None]
        mixed += tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        top = new_top
    if SPLITS == 1:
        mixed = mixed / tl.maximum(total, 1e-30)[:, None]
        place = (row * SLOTS + m)[:, None] * HEADS * D + head * D + d[None, :]
        tl.store(out + place, mixed.to(out.dtype.element_ty), mask=(m < SLOTS)[:, None])
    else:
        unit = ((row * HEADS + head) * SPLITS + split) * BLOCK_M + tl.arange(0, BLOCK_M)
        tl.store(partial + unit[:, None] * D + d[None, :], mixed)
        tl.store(norms + 2 * unit, top)
        tl.store(norms + 2 * unit + 1, total)


@triton.jit
def join_splits(
    partial, norms, out, SLOTS: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr,
    BLOCK_M: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Join what ``attend`` found in each share of one row's and head's keys."""
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    m, d = tl.arange(0, BLOCK_M), tl.arange(0, D)
    top = tl.full([BLOCK_M], -1e30, tl.float32)
    for split in tl.static_range(SPLITS):
        unit = ((row * HEADS + head) * SPLITS + split) * BLOCK_M + m
        top = tl.maximum(top, tl.load(norms + 2 * unit))
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, D], tl.float32)
    for split in tl.static_range(SPLITS):
        unit = ((row * HEADS + head) * SPLITS + split) * BLOCK_M + m
        weight = tl.exp(tl.load(norms + 2 * unit) - top)
        total += weight * tl.load(norms + 2 * unit + 1)
        mixed += weight[:, None] * tl.load(partial + unit[:, None] * D + d[None, :])
    mixed = mixed / tl.maximum(total, 1e-30)[:, None]
    place = (row * SLOTS + m)[:, None] * HEADS * D + head * D + d[None, :]
    tl.store(out + place, mixed.to(out.dtype.element_ty), mask=(m < SLOTS)[:, None])


@triton.jit
def normalise(x, out, eps, C: tl.constexpr):
    """RMS normalisation of one slot, without weight."""
    slot = tl.program_id(0)
    c = tl.arange(0, triton.next_power_of_2(C))
    value = tl.load(x + slot * C + c, mask=c < C, other=0.0).to(tl.float32)
    value = value * tl.rsqrt(tl.sum(value * value, 0) / C + eps)
    tl.store(out + slot * C + c, value.to(out.dtype.element_ty), mask=c < C)


@triton.jit
def gate(x, out, N: tl.constexpr):
    """``silu(x[:N]) * x[N:]`` of one slot."""
    slot = tl.program_id(0)
    n = tl.arange(0, triton.next_power_of_2(N))
    a = tl.load(x + slot * 2 * N + n, mask=n < N, other=0.0).to(tl.float32)
    b = tl.load(x + slot * 2 * N + N + n, mask=n < N, other=0.0).to(tl.float32)
    tl.store(out + slot * N + n, (a * tl.sigmoid(a) * b).to(out.dtype.element_ty), mask=n < N)


@triton.jit
def begin_frame(
    alive, frame, length, tail, pending, allowed, counts, active, limit, position,
    K: tl.constexpr, VISION: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row at the start of a frame: place its pending and its vision slots; reset the rest.

    Rows from ``alive`` on are not used by this clip.
    """
    row = tl.program_id(0)
    slot = tl.arange(0, BLOCK)
    used = row < tl.load(alive)
    end, carried = tl.load(length + row), tl.load(pending + row)
    at = tl.where(slot < K, tl.where(slot < carried, end + slot, -1), end + carried + slot - K)
    at = tl.where(used, at, -1)
    inside = slot < K + VISION
    tl.store(limit + row * (K + VISION) + slot, at, mask=inside)
    tl.store(position + row * (K + VISION) + slot, tl.maximum(at, 0), mask=inside)
    end += carried + VISION
    tl.store(length + row, end)
    tl.store(tail + row, end - K)
    tl.store(allowed + row * V + slot, (slot < V - 1).to(tl.int8), mask=slot < V)
    tl.store(counts + tl.load(frame) * tl.num_programs(0) + row, 0)
    tl.store(active + row, used.to(tl.int32))


@triton.jit
def choose(
    scores, allowed, budgets, requirement, frame, length, tail,
    ids, confidences, counts, chunk, pending, active, limit, position,
    slots, K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One row: choose a chunk (the rules are those of ``choose.py``) and place its slots."""
    row, rows = tl.program_id(0), tl.num_programs(0)
    j = tl.arange(0, BLOCK_K)
    if tl.load(active + row) == 0:
        tl.store(limit + row * K + j, -1, mask=j < K)
        return
    t = tl.load(frame)
    budget, threshold = tl.load(budgets + t), tl.load(requirement)
    count = tl.load(counts + t * rows + row)
    first = count == 0
    v = tl.arange(0, BLOCK)
    free = tl.load(allowed + row * V + v, mask=v < V, other=0) != 0
    base = scores + row * (V * K + K)
    out = (t * rows + row) * slots
    valid = 0
    met = False
    ended = False
    for i in tl.static_range(K):
        raw = tl.load(base + i * V + v, mask=v < V, other=float("-inf")).to(tl.float32)
        finite = (raw == raw) & (tl.abs(raw) != float("inf"))
        score = tl.where(free & finite, raw, float("-inf"))
        best = tl.max(score, 0)
        token = tl.min(tl.where(score == best, v, BLOCK), 0)
        ended = ended | (count >= budget) | (best == float("-inf"))
        if not ended:
            loss = tl.load(base + K * V + i).to(tl.float32)
            pad = (loss <= threshold) & ~(first & (i == 0))
            share = tl.exp(best) / tl.sum(tl.exp(score), 0)
            share = tl.where((share > 0) & (share < float("inf")), share, 1.0)
            tl.store(ids + out + count, tl.where(pad, V - 1, token))
            tl.store(confidences + out + count, tl.where(pad, 0.0, share))
            free = free & (v != token)
            count += 1
            met = met | pad
            if not pad:
                tl.store(chunk + row * K + valid, token.to(tl.int64))
                valid += 1
    tl.store(allowed + row * V + v, free.to(tl.int8), mask=v < V)
    tl.store(counts + t * rows + row, count)
    tl.store(pending + row, valid)
    running = ~met & ~ended & (count < budget)
    tl.store(active + row, running.to(tl.int32))
    if running:
        end, back = tl.load(length + row), tl.load(tail + row)
        tl.store(limit + row * K + j, end + j, mask=j < K)
        tl.store(position + row * K + j, back + j, mask=j < K)
        tl.store(length + row, end + K)
    else:
        tl.store(limit + row * K + j, -1, mask=j < K)
