"""Triton kernels of the GPU decoder. Import only where there are Triton and a GPU.

A row is one clip. ``kv_index`` is a token's index in its row's cache, which is also the last key
that it may see, or -1 for an absent token. Sizes that a kernel is compiled for are upper case.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rope_and_append(
    qkv, q_out, keys, values, kv_index, position, cos_sin,
    capacity, TOKENS: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One token: rotate its query and key, and write key and value to the cache."""
    token = tl.program_id(0)
    row = token // TOKENS
    at = tl.load(kv_index + token)
    head = tl.arange(0, triton.next_power_of_2(HEADS))[:, None]
    pair = tl.arange(0, D // 2)[None, :]
    head_mask = head < HEADS
    angle = tl.load(position + token) * D + 2 * pair
    cos, sin = tl.load(cos_sin + angle), tl.load(cos_sin + angle + 1)
    base = qkv + token * 3 * HEADS * D
    even = head * D + 2 * pair
    inside = head_mask & (pair >= 0)
    a = tl.load(base + even, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(base + even + 1, mask=inside, other=0.0).to(tl.float32)
    out = q_out + token * HEADS * D
    tl.store(out + even, (a * cos - b * sin).to(q_out.dtype.element_ty), mask=inside)
    tl.store(out + even + 1, (a * sin + b * cos).to(q_out.dtype.element_ty), mask=inside)
    inside = inside & (at >= 0)
    base += HEADS * D
    a = tl.load(base + even, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(base + even + 1, mask=inside, other=0.0).to(tl.float32)
    offset = ((row * HEADS + head).to(tl.int64) * capacity + at) * D + 2 * pair
    tl.store(keys + offset, (a * cos - b * sin).to(keys.dtype.element_ty), mask=inside)
    tl.store(keys + offset + 1, (a * sin + b * cos).to(keys.dtype.element_ty), mask=inside)
    base += HEADS * D
    tl.store(values + offset, tl.load(base + even, mask=inside, other=0.0), mask=inside)
    tl.store(values + offset + 1, tl.load(base + even + 1, mask=inside, other=0.0), mask=inside)


@triton.jit
def attention(
    q, keys, values, kv_index, out, partial_acc, partial_stats, scale,
    capacity, TOKENS: tl.constexpr, STRIDE: tl.constexpr, FIRST: tl.constexpr,
    HEADS: tl.constexpr, D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SPLITS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Some queries of one row and head over one split of its keys: online softmax.

    ``kv_index`` has STRIDE entries per row; the queries are the TOKENS from FIRST on.
    """
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    block, split = tl.program_id(1), tl.program_id(2)
    m = block * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, D)
    last = tl.load(kv_index + row * STRIDE + FIRST + m, mask=m < TOKENS, other=-1)
    visible = tl.max(last, 0) + 1
    keys_per_split = tl.cdiv(tl.cdiv(visible, BLOCK_N), SPLITS) * BLOCK_N
    low = split * keys_per_split
    high = tl.minimum(low + keys_per_split, visible)
    offset = (row * STRIDE + FIRST + m)[:, None] * HEADS * D + head * D + d[None, :]
    queries = tl.load(q + offset, mask=(m < TOKENS)[:, None], other=0.0)
    start = (row * HEADS + head).to(tl.int64) * capacity * D
    row_max = tl.full([BLOCK_M], -1e30, tl.float32)
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D], tl.float32)
    for n0 in range(low, high, BLOCK_N):
        n = n0 + tl.arange(0, BLOCK_N)
        inside = n < high
        k = tl.load(keys + start + n[None, :] * D + d[:, None], mask=inside[None, :], other=0.0)
        v = tl.load(values + start + n[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        scores = tl.dot(queries, k, input_precision=PRECISION) * scale
        scores = tl.where((n[None, :] <= last[:, None]) & inside[None, :], scores, -1e30)
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        p = tl.where(scores > -1e29, tl.exp(scores - new_max[:, None]), 0.0)
        rescale = tl.exp(row_max - new_max)
        row_sum = row_sum * rescale + tl.sum(p, 1)
        acc = acc * rescale[:, None]
        acc += tl.dot(p.to(v.dtype), v, input_precision=PRECISION)
        row_max = new_max
    if SPLITS == 1:
        acc = acc / tl.maximum(row_sum, 1e-30)[:, None]
        offset = (row * TOKENS + m)[:, None] * HEADS * D + head * D + d[None, :]
        tl.store(out + offset, acc.to(out.dtype.element_ty), mask=(m < TOKENS)[:, None])
    else:
        unit = ((row * HEADS + head) * SPLITS + split) * BLOCK_M + tl.arange(0, BLOCK_M)
        tl.store(partial_acc + unit[:, None] * D + d[None, :], acc)
        tl.store(partial_stats + 2 * unit, row_max)
        tl.store(partial_stats + 2 * unit + 1, row_sum)


@triton.jit
def combine_splits(
    partial_acc, partial_stats, out, TOKENS: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr,
    BLOCK_M: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Combine the splits of one row's and head's keys."""
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    m, d = tl.arange(0, BLOCK_M), tl.arange(0, D)
    row_max = tl.full([BLOCK_M], -1e30, tl.float32)
    for split in tl.static_range(SPLITS):
        unit = ((row * HEADS + head) * SPLITS + split) * BLOCK_M + m
        row_max = tl.maximum(row_max, tl.load(partial_stats + 2 * unit))
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D], tl.float32)
    for split in tl.static_range(SPLITS):
        unit = ((row * HEADS + head) * SPLITS + split) * BLOCK_M + m
        weight = tl.exp(tl.load(partial_stats + 2 * unit) - row_max)
        row_sum += weight * tl.load(partial_stats + 2 * unit + 1)
        acc += weight[:, None] * tl.load(partial_acc + unit[:, None] * D + d[None, :])
    acc = acc / tl.maximum(row_sum, 1e-30)[:, None]
    offset = (row * TOKENS + m)[:, None] * HEADS * D + head * D + d[None, :]
    tl.store(out + offset, acc.to(out.dtype.element_ty), mask=(m < TOKENS)[:, None])


@triton.jit
def rms_norm(x, out, eps, C: tl.constexpr):
    """RMS normalisation of one token, without weight."""
    token = tl.program_id(0)
    c = tl.arange(0, triton.next_power_of_2(C))
    value = tl.load(x + token * C + c, mask=c < C, other=0.0).to(tl.float32)
    value = value * tl.rsqrt(tl.sum(value * value, 0) / C + eps)
    tl.store(out + token * C + c, value.to(out.dtype.element_ty), mask=c < C)


@triton.jit
def silu_mul(x, out, N: tl.constexpr):
    """``silu(x[:N]) * x[N:]`` of one token."""
    token = tl.program_id(0)
    n = tl.arange(0, triton.next_power_of_2(N))
    a = tl.load(x + token * 2 * N + n, mask=n < N, other=0.0).to(tl.float32)
    b = tl.load(x + token * 2 * N + N + n, mask=n < N, other=0.0).to(tl.float32)
    tl.store(out + token * N + n, (a * tl.sigmoid(a) * b).to(out.dtype.element_ty), mask=n < N)


@triton.jit
def begin_frame(
    alive, frame, length, tail, pending, allowed, counts, active, kv_index, position,
    K: tl.constexpr, VISION: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row at the start of a frame: place its pending and vision tokens; reset the rest.

    Rows from ``alive`` on are not used by this clip.
    """
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    used = row < tl.load(alive)
    end, carried = tl.load(length + row), tl.load(pending + row)
    at = tl.where(j < K, tl.where(j < carried, end + j, -1), end + carried + j - K)
    at = tl.where(used, at, -1)
    inside = j < K + VISION
    tl.store(kv_index + row * (K + VISION) + j, at, mask=inside)
    tl.store(position + row * (K + VISION) + j, tl.maximum(at, 0), mask=inside)
    end += carried + VISION
    tl.store(length + row, end)
    tl.store(tail + row, end - K)
    tl.store(allowed + row * V + j, (j < V - 1).to(tl.int8), mask=j < V)
    tl.store(counts + tl.load(frame) * tl.num_programs(0) + row, 0)
    tl.store(active + row, used.to(tl.int32))


@triton.jit
def select_tokens(
    scores, allowed, budgets, requirement, frame, length, tail,
    ids, confidences, counts, chunk, pending, active, kv_index, position,
    max_tokens, K: tl.constexpr, V: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One row: choose a chunk (the rules are those of ``choose.py``) and place its tokens."""
    row, rows = tl.program_id(0), tl.num_programs(0)
    j = tl.arange(0, BLOCK_K)
    if tl.load(active + row) == 0:
        tl.store(kv_index + row * K + j, -1, mask=j < K)
        return
    t = tl.load(frame)
    budget, threshold = tl.load(budgets + t), tl.load(requirement)
    count = tl.load(counts + t * rows + row)
    first = count == 0
    v = tl.arange(0, BLOCK)
    free = tl.load(allowed + row * V + v, mask=v < V, other=0) != 0
    base = scores + row * (V * K + K)
    out = (t * rows + row) * max_tokens
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
            probability = tl.exp(best) / tl.sum(tl.exp(score), 0)
            usable = (probability > 0) & (probability < float("inf"))
            probability = tl.where(usable, probability, 1.0)
            tl.store(ids + out + count, tl.where(pad, V - 1, token))
            tl.store(confidences + out + count, tl.where(pad, 0.0, probability))
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
        tl.store(kv_index + row * K + j, end + j, mask=j < K)
        tl.store(position + row * K + j, back + j, mask=j < K)
        tl.store(length + row, end + K)
    else:
        tl.store(kv_index + row * K + j, -1, mask=j < K)
