"""The loop over time as programs of a GPU: one for each tile of the batch, with all its steps.

In Triton's language, and imported only where Triton is, by
:mod:`orthornn.recurrence.triton.engine`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import constexpr

from .elementwise import factor, outcome

# Note [One loop for both directions]
# h_t = s(z_t + W h_{t-1}) and δ_t = D_t (g_t + Wᵀ δ_{t+1}) are one loop over rows,
#     out_t = f(given_t + p M),    p = out of the step before, or `before` at the first step:
# forward given = z, M = Wᵀ and f = s; BACK given = g, M = W and f the mask that h_t tells.
# `starts` has the row at which each step begins and `lengths` the steps of each sequence, which
# fall; a dense batch is one of equal lengths. Sequences do not meet, so no program waits for
# another. p M sums over the rows of M, which is row-major: a thread adds up its own products
# first, and neighbouring threads read neighbouring columns. M comes with zeros around it, up to a
# multiple of 16 (`M`), so that a thread reads 16 bytes at once whatever H is; p is kept at zero
# there as well, for an infinite p makes NaN of those zeros.

# Note [Three programs]
# along_rows   one sequence each, M in registers. Products of float32 need no tensor core, and no
#              sequence waits for others that fill a tile up to the 16 rows of tl.dot.
# along_tiles  16 sequences each, M a factor of tl.dot that stays in registers or shared memory.
# streaming    any size: M is read again at every step, out of a cache, and p out of `out`.

# Note [Over its own input]
# Forward writes h_t where z_t was. Where a tile is small, several warps hold the same elements and
# each loads them, so one might read what another has already written: a barrier stands between.


@triton.jit
def learned(threshold, i, H, KIND: constexpr, BACK: constexpr):
    """The b of modReLU, where it is needed."""
    b = 0.0
    if KIND == "modrelu" and not BACK:
        b = tl.load(threshold + i, mask=i < H, other=0.0)
    return b


@triton.jit
def part(m, k, n, M):
    """The matrix at the rows k and the columns n, 0 beyond its M rows and columns."""
    inside = (k < M)[:, None] & (n < M)[None, :]
    return tl.load(m + k[:, None] * M + n[None, :], mask=inside, other=0.0)


@triton.jit
def times(p, m):
    """The row p M in the precision of its factors."""
    return tl.sum(p[:, None] * m, axis=0)


@triton.jit(do_not_specialize=["B", "H", "M"])  # nor wider loads, which would cost registers
def along_rows(  # noqa: PLR0915 - what is written twice are the parts
    given,
    states,
    out,
    before,
    m,
    threshold,
    starts,
    lengths,
    B,
    H,
    M,
    KIND: constexpr,
    BACK: constexpr,
    P: constexpr,
    Q: constexpr,
):
    """One sequence, M resident in four parts: H <= P + Q units, powers of two; Q may be 0."""
    sequence = tl.program_id(0).to(tl.int64)
    steps = tl.load(lengths + sequence).to(tl.int32)
    i = tl.arange(0, P)
    b_i = learned(threshold, i, H, KIND, BACK)
    m_ii = part(m, i, i, M)
    p_i = tl.load(before + sequence * H + i, mask=i < H, other=0.0)
    t = steps - 1 if BACK else 0
    live = steps > 0
    row = (tl.load(starts + t, mask=live, other=0) + sequence) * H
    a_i = tl.load(given + row + i, mask=live & (i < H), other=0.0)
    h_i = a_i
    if BACK:
        h_i = tl.load(states + row + i, mask=live & (i < H), other=0.0)
    if Q > 0:
        j = P + tl.arange(0, Q)
        b_j = learned(threshold, j, H, KIND, BACK)
        m_ij = part(m, i, j, M)
        m_ji = part(m, j, i, M)
        m_jj = part(m, j, j, M)
        p_j = tl.load(before + sequence * H + j, mask=j < H, other=0.0)
        a_j = tl.load(given + row + j, mask=live & (j < H), other=0.0)
        h_j = a_j
        if BACK:
            h_j = tl.load(states + row + j, mask=live & (j < H), other=0.0)
    for s in range(steps):
        # asked for now, the next step's operands arrive while this step is computed
        t = steps - 2 - s if BACK else s + 1
        live = s + 1 < steps
        row_next = (tl.load(starts + t, mask=live, other=0) + sequence) * H
        next_a_i = tl.load(given + row_next + i, mask=live & (i < H), other=0.0)
        next_h_i = next_a_i
        if BACK:
            next_h_i = tl.load(states + row_next + i, mask=live & (i < H), other=0.0)
        if not BACK:
            tl.debug_barrier()  # Note [Over its own input]
        u_i = a_i + times(p_i, m_ii)
        if Q > 0:
            next_a_j = tl.load(given + row_next + j, mask=live & (j < H), other=0.0)
            next_h_j = next_a_j
            if BACK:
                next_h_j = tl.load(states + row_next + j, mask=live & (j < H), other=0.0)
            u_i += times(p_j, m_ji)
            u_j = a_j + times(p_i, m_ij) + times(p_j, m_jj)
            p_j = tl.where(j < H, outcome(u_j, b_j, h_j, KIND, BACK), 0.0)
            tl.store(out + row + j, p_j, mask=j < H)
            a_j = next_a_j
            h_j = next_h_j
        p_i = tl.where(i < H, outcome(u_i, b_i, h_i, KIND, BACK), 0.0)
        tl.store(out + row + i, p_i, mask=i < H)
        a_i = next_a_i
        h_i = next_h_i
        row = row_next


@triton.jit(do_not_specialize=["B"])
def along_tiles(
    given,
    states,
    out,
    before,
    m,
    threshold,
    starts,
    lengths,
    B,
    H,
    M,
    KIND: constexpr,
    BACK: constexpr,
    PRECISION: constexpr,
    R: constexpr,
    P: constexpr,
):
    """R sequences, M resident: H <= P units, a power of two; products in TF32 or bfloat16."""
    first = tl.program_id(0).to(tl.int64) * R
    sequence = first + tl.arange(0, R)
    length = tl.load(lengths + sequence, mask=sequence < B, other=0)
    steps = tl.load(lengths + first).to(tl.int32)
    i = tl.arange(0, P)
    b = learned(threshold, i, H, KIND, BACK)
    w = factor(part(m, i, i, M), PRECISION)
    inside = (sequence < B)[:, None] & (i < H)[None, :]
    p = tl.load(before + sequence[:, None] * H + i[None, :], mask=inside, other=0.0)
    t = steps - 1 if BACK else 0
    row = (tl.load(starts + t, mask=steps > 0, other=0) + sequence) * H
    going = (t < length) & (steps > 0)
    live = going[:, None] & (i < H)[None, :]
    a = tl.load(given + row[:, None] + i[None, :], mask=live, other=0.0)
    h = a
    if BACK:
        h = tl.load(states + row[:, None] + i[None, :], mask=live, other=0.0)
    for s in range(steps):
        # as in along_rows
        t = steps - 2 - s if BACK else s + 1
        more = s + 1 < steps
        row_next = (tl.load(starts + t, mask=more, other=0) + sequence) * H
        going_next = (t < length) & more
        live = going_next[:, None] & (i < H)[None, :]
        a_next = tl.load(given + row_next[:, None] + i[None, :], mask=live, other=0.0)
        h_next = a_next
        if BACK:
            h_next = tl.load(states + row_next[:, None] + i[None, :], mask=live, other=0.0)
        if not BACK:
            tl.debug_barrier()  # Note [Over its own input]
        u = tl.dot(factor(p, PRECISION), w, a, input_precision="tf32")
        p = tl.where((i < H)[None, :], outcome(u, b, h, KIND, BACK), 0.0)
        live = going[:, None] & (i < H)[None, :]
        tl.store(out + row[:, None] + i[None, :], p, mask=live)
        a = a_next
        h = h_next
        row = row_next
        going = going_next


@triton.jit(do_not_specialize=["B"])
def streaming(
    given,
    states,
    out,
    before,
    m,
    threshold,
    starts,
    lengths,
    B,
    H,
    M,
    KIND: constexpr,
    BACK: constexpr,
    PRECISION: constexpr,
    R: constexpr,
    K: constexpr,
    N: constexpr,
):
    """R sequences and any H: p M for N columns at a time, by K rows of M at a time."""
    first = tl.program_id(0).to(tl.int64) * R
    sequence = first + tl.arange(0, R)
    length = tl.load(lengths + sequence, mask=sequence < B, other=0)
    steps = tl.load(lengths + first).to(tl.int32)
    p_at = before + sequence * H
    p_live = sequence < B
    for s in range(steps):
        t = steps - 1 - s if BACK else s
        live = t < length
        at = (tl.load(starts + t) + sequence) * H
        for n0 in range(0, H, N):
            n = n0 + tl.arange(0, N)
            here = at[:, None] + n[None, :]
            inside = live[:, None] & (n < H)[None, :]
            u = tl.load(given + here, mask=inside, other=0.0)
            h = u
            if BACK:
                h = tl.load(states + here, mask=inside, other=0.0)
            total = u
            if PRECISION == "ieee":  # every thread adds up its own products, all at the end
                total = tl.zeros((R, K, N), out.dtype.element_ty)
            for k0 in range(0, H, K):
                k = k0 + tl.arange(0, K)
                known = p_live[:, None] & (k < H)[None, :]
                p = tl.load(p_at[:, None] + k[None, :], mask=known, other=0.0)
                w = part(m, k, n, M)
                if PRECISION == "ieee":
                    total += p[:, :, None] * w[None, :, :]
                else:
                    w = factor(w, PRECISION)
                    total = tl.dot(factor(p, PRECISION), w, total, input_precision="tf32")
            if PRECISION == "ieee":
                u += tl.sum(total, axis=1)
            else:
                u = total
            b = learned(threshold, n, H, KIND, BACK)
            if not BACK:
                tl.debug_barrier()  # Note [Over its own input]
            tl.store(out + here, outcome(u, b, h, KIND, BACK), mask=inside)
        tl.debug_barrier()  # the next step reads what other threads of the program stored
        p_at = out + at
        p_live = live
