"""Triton's kernels in its interpreter, against the reference in float64."""

import random

import pytest
import torch

from orthornn.recurrence.elman import eager
from orthornn.recurrence.elman.inputs import Inputs, Kind, Needed
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from orthornn.recurrence.elman.reference import reference

every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
# T, B, I, H: M in one part, in four (streaming in float64), streaming by one tile and by two
SHAPES = [(1, 1, 1, 1), (6, 3, 2, 5), (3, 2, 3, 33), (2, 2, 2, 150), (2, 5, 2, 200), (2, 1, 2, 270)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def problem(shape, nonlinearity, dtype, sizes=None, bias=True):
    """The inputs and a gradient; of packed rows where ``sizes`` has the batch at each step.

    Small, or tanh would be so near to 1 that its slope had few digits.
    """
    T, B, I, H = shape

    def draw(*size, scale=0.5):
        return (scale * torch.randn(*size, dtype=torch.float64)).to(dtype)

    steps = (T, B) if sizes is None else (sum(sizes),)
    w_hh = torch.linalg.qr(draw(H, H).double())[0].to(dtype)
    b = draw(H, scale=0.1) if NONLINEARITIES[nonlinearity].has_bias else None
    c = draw(H) if bias else None
    return Inputs(draw(*steps, I), draw(B, H), w_hh, draw(H, I), c, b), draw(*steps, H)


def exactly(inputs, g, nonlinearity, batch_sizes=None):
    """The states and the gradients of the reference in float64."""
    leaves = Inputs(*(None if a is None else a.double().requires_grad_() for a in inputs))
    h = reference(leaves, Kind(nonlinearity, batch_sizes))
    gradients = iter(torch.autograd.grad(h, [a for a in leaves if a is not None], g.double()))
    return [h.detach(), *(None if a is None else next(gradients) for a in leaves)]


def both_ways(call, inputs, g, nonlinearity, batch_sizes=None, **chunk):
    """The states and the gradients that the kernels find."""
    kind = Kind(nonlinearity, batch_sizes)
    h = call("forward", inputs, kind, **chunk)
    return [h, *call("backward", g, inputs, h, kind, Needed(*[True] * 6), **chunk)]


def distance(found, expected):
    """The largest error, relative to the norm of what is expected."""
    pairs = zip(found, expected, strict=True)
    errors = [0.0]
    for a, b in pairs:
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            errors.append(float((a.double() - b).norm() / b.norm().clamp(min=1e-30)))
    return max(errors)


def bound(shape, dtype):
    T, _, I, H = shape
    return 4 * (H + I) * T * torch.finfo(dtype).eps


@pytest.mark.each_value_once
@every_shape
@every_dtype
@every_nonlinearity
def test_states_and_gradients_equal_the_reference(interpreted, nonlinearity, dtype, shape):
    inputs, g = problem(shape, nonlinearity, dtype)
    found = both_ways(interpreted, inputs, g, nonlinearity)
    assert distance(found, exactly(inputs, g, nonlinearity)) < bound(shape, dtype)


@pytest.mark.each_value_once
@pytest.mark.parametrize(
    ("sizes", "H"),
    [([3, 1], 7), ([2, 2, 1, 1], 7), ([5, 4, 4, 2, 1], 7), ([3, 2], 150), ([5, 2, 1], 200)],
    ids=str,
)
@every_nonlinearity
def test_packed_rows_equal_the_reference(interpreted, nonlinearity, sizes, H):
    shape, batch_sizes = (len(sizes), sizes[0], 2, H), torch.tensor(sizes)
    inputs, g = problem(shape, nonlinearity, torch.float32, sizes)
    found = both_ways(interpreted, inputs, g, nonlinearity, batch_sizes)
    expected = exactly(inputs, g, nonlinearity, batch_sizes)
    assert distance(found, expected) < bound(shape, torch.float32)


@pytest.mark.parametrize("seed", range(10))
def test_shapes_drawn_at_random_equal_the_reference(interpreted, seed):
    draw = random.Random(seed)
    T, B, I, H = (draw.randint(1, most) for most in (7, 7, 4, 40))
    sizes = sorted((draw.randint(1, B) for _ in range(T)), reverse=True) if seed % 2 else None
    shape = (T, B if sizes is None else sizes[0], I, H)
    nonlinearity = draw.choice(sorted(NONLINEARITIES))
    inputs, g = problem(shape, nonlinearity, torch.float64, sizes, bias=draw.random() < 0.5)
    batch_sizes = None if sizes is None else torch.tensor(sizes)
    found = both_ways(interpreted, inputs, g, nonlinearity, batch_sizes)
    expected = exactly(inputs, g, nonlinearity, batch_sizes)
    assert distance(found, expected) < bound(shape, torch.float64)


@pytest.mark.each_value_once
@pytest.mark.parametrize("sizes", [None, [4, 4, 3, 3, 1]], ids=["dense", "packed"])
@pytest.mark.parametrize(("steps", "H"), [(1, 5), (2, 5), (3, 5), (3, 200)])
def test_chunks_of_time_do_not_show(interpreted, steps, H, sizes):
    inputs, g = problem((5, 4, 2, H), "modrelu", torch.float64, sizes)
    batch_sizes = None if sizes is None else torch.tensor(sizes)
    chunk_bytes = steps * 4 * H * 8
    found = both_ways(interpreted, inputs, g, "modrelu", batch_sizes, chunk_bytes=chunk_bytes)
    expected = exactly(inputs, g, "modrelu", batch_sizes)
    assert distance(found, expected) < bound((5, 4, 2, H), torch.float64)


@pytest.mark.parametrize("frozen", Inputs._fields)
def test_a_gradient_that_is_not_wanted_is_not_made(interpreted, frozen):
    inputs, g = problem((3, 2, 3, 4), "modrelu", torch.float64)
    h = eager.forward(inputs, Kind("modrelu"))
    needed = Needed(*[True] * 6)._replace(**{frozen: False})
    arguments = (g, inputs, h, Kind("modrelu"), needed)
    torch.testing.assert_close(interpreted("backward", *arguments), eager.backward(*arguments))


@every_dtype
def test_memory_in_any_order(interpreted, dtype):
    inputs, _ = problem((4, 3, 2, 5), "modrelu", dtype)
    inputs = inputs._replace(
        x=inputs.x.transpose(0, 1).contiguous().transpose(0, 1),
        h0=inputs.h0[:1].expand(3, 5),
        w_hh=inputs.w_hh.t().contiguous().t(),
        w_ih=inputs.w_ih.t().contiguous().t(),
    )
    g = torch.ones((), dtype=dtype).expand(4, 3, 5)
    found = both_ways(interpreted, inputs, g, "modrelu")
    assert distance(found, exactly(inputs, g, "modrelu")) < bound((4, 3, 2, 5), dtype)


@pytest.mark.parametrize(("T", "B"), [(3, 0), (0, 3)])
def test_nothing_has_no_states(interpreted, T, B):
    inputs, g = problem((T, B, 2, 5), "modrelu", torch.float32)
    found = both_ways(interpreted, inputs, g, "modrelu")
    assert found[0].shape == (T, B, 5)
    assert not any(a.any() for a in found)
