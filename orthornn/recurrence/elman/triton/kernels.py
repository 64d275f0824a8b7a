"""The loop over time as kernels of a GPU: a program runs its sequences through all their steps.

In Triton's language, and imported only where Triton is, by
:mod:`orthornn.recurrence.elman.triton.engine`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import constexpr

from .elementwise import nonlinearity

# Note [One loop for both directions]
# h_t = s(z_t + W h_{t-1}) and δ_t = D_t (g_t + Wᵀ δ_{t+1}) are one loop over rows,
#     out_t = f(addend_t + p M),    p = out of the step before, or `before` at the first step:
# forward addend = z, M = Wᵀ and f = s; BACK addend = g, M = W and f the mask that h_t tells.
# `starts` has the row at which each step begins and `lengths` the steps of each sequence, which
# fall; a dense batch is one of equal lengths. Sequences do not meet, so no program waits for
# another. p M sums over the rows of M, which is row-major: a thread adds up its own products
# first, and neighbouring threads read neighbouring columns. M comes with zeros around it, up to a
# multiple of 16 (`M`), so that a thread reads 16 bytes at once whatever H is; p is kept at zero
# there as well, for an infinite p makes NaN of those zeros.

# Note [Two kernels]
# recurrence_vector_kernel     one sequence each, M in registers. Products of float32 need no tensor
#                              core, and no sequence waits for others that fill a tile of tl.dot.
# recurrence_streaming_kernel  any size: M is read again at every step, out of a cache, and p out of
#                              `out`.

# Note [Over its own input]
# Forward writes h_t where z_t was. Where a tile is small, several warps hold the same elements and
# each loads them, so one might read what another has already written: a barrier stands between.


@triton.jit
def load_modrelu_bias(modrelu_bias, i, H, KIND: constexpr, BACK: constexpr):
    """The b of modReLU, where it is needed."""
    b = 0.0
    if KIND == "modrelu" and not BACK:
        b = tl.load(modrelu_bias + i, mask=i < H, other=0.0)
    return b


@triton.jit
def load_block(m, k, n, M):
    """The matrix at the rows k and the columns n, 0 beyond its M rows and columns."""
    inside = (k < M)[:, None] & (n < M)[None, :]
    return tl.load(m + k[:, None] * M + n[None, :], mask=inside, other=0.0)


@triton.jit
def matvec(p, m):
    """The row p M."""
    return tl.sum(p[:, None] * m, axis=0)


@triton.jit(do_not_specialize=["B", "H", "M"])  # nor wider loads, which would cost registers
def recurrence_vector_kernel(  # noqa: PLR0915 - what is written twice are the parts
    addend,
    states,
    out,
    before,
    m,
    modrelu_bias,
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
    b_i = load_modrelu_bias(modrelu_bias, i, H, KIND, BACK)
    m_ii = load_block(m, i, i, M)
    p_i = tl.load(before + sequence * H + i, mask=i < H, other=0.0)
    t = steps - 1 if BACK else 0
    live = steps > 0
    row = (tl.load(starts + t, mask=live, other=0) + sequence) * H
    a_i = tl.load(addend + row + i, mask=live & (i < H), other=0.0)
    h_i = a_i
    if BACK:
        h_i = tl.load(states + row + i, mask=live & (i < H), other=0.0)
    if Q > 0:
        j = P + tl.arange(0, Q)
        b_j = load_modrelu_bias(modrelu_bias, j, H, KIND, BACK)
        m_ij = load_block(m, i, j, M)
        m_ji = load_block(m, j, i, M)
        m_jj = load_block(m, j, j, M)
        p_j = tl.load(before + sequence * H + j, mask=j < H, other=0.0)
        a_j = tl.load(addend + row + j, mask=live & (j < H), other=0.0)
        h_j = a_j
        if BACK:
            h_j = tl.load(states + row + j, mask=live & (j < H), other=0.0)
    for s in range(steps):
        # asked for now, the next step's operands arrive while this step is computed
        t = steps - 2 - s if BACK else s + 1
        live = s + 1 < steps
        row_next = (tl.load(starts + t, mask=live, other=0) + sequence) * H
        next_a_i = tl.load(addend + row_next + i, mask=live & (i < H), other=0.0)
        next_h_i = next_a_i
        if BACK:
            next_h_i = tl.load(states + row_next + i, mask=live & (i < H), other=0.0)
        if not BACK:
            tl.debug_barrier()  # Note [Over its own input]
        u_i = a_i + matvec(p_i, m_ii)
        if Q > 0:
            next_a_j = tl.load(addend + row_next + j, mask=live & (j < H), other=0.0)
            next_h_j = next_a_j
            if BACK:
                next_h_j = tl.load(states + row_next + j, mask=live & (j < H), other=0.0)
            u_i += matvec(p_j, m_ji)
            u_j = a_j + matvec(p_i, m_ij) + matvec(p_j, m_jj)
            p_j = tl.where(j < H, nonlinearity(u_j, b_j, h_j, KIND, BACK), 0.0)
            tl.store(out + row + j, p_j, mask=j < H)
            a_j = next_a_j
            h_j = next_h_j
        p_i = tl.where(i < H, nonlinearity(u_i, b_i, h_i, KIND, BACK), 0.0)
        tl.store(out + row + i, p_i, mask=i < H)
        a_i = next_a_i
        h_i = next_h_i
        row = row_next


@triton.jit(do_not_specialize=["B"])
def recurrence_streaming_kernel(
    addend,
    states,
    out,
    before,
    m,
    modrelu_bias,
    starts,
    lengths,
    B,
    H,
    M,
    KIND: constexpr,
    BACK: constexpr,
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
            entries = at[:, None] + n[None, :]
            inside = live[:, None] & (n < H)[None, :]
            u = tl.load(addend + entries, mask=inside, other=0.0)
            h = u
            if BACK:
                h = tl.load(states + entries, mask=inside, other=0.0)
            total = tl.zeros((R, K, N), out.dtype.element_ty)
            for k0 in range(0, H, K):
                k = k0 + tl.arange(0, K)
                p_inside = p_live[:, None] & (k < H)[None, :]
                p = tl.load(p_at[:, None] + k[None, :], mask=p_inside, other=0.0)
                w = load_block(m, k, n, M)
                total += p[:, :, None] * w[None, :, :]  # every thread adds up its own products
            u += tl.sum(total, axis=1)
            b = load_modrelu_bias(modrelu_bias, n, H, KIND, BACK)
            if not BACK:
                tl.debug_barrier()  # Note [Over its own input]
            tl.store(out + entries, nonlinearity(u, b, h, KIND, BACK), mask=inside)
        tl.debug_barrier()  # the next step reads what other threads of the program stored
        p_at = out + at
        p_live = live
