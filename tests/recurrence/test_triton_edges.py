"""Triton's kernels where numbers end, and what their caller refuses."""

import importlib.util
import math

import pytest
import torch

from orthornn.recurrence.elman import eager
from orthornn.recurrence.elman.inputs import Inputs, Kind, Needed
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from orthornn.recurrence.elman.triton import engine as backend
from tests.recurrence.test_kinks import TABLE, values

every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
# H of the vector kernel with M in one part and in four, and of the streaming kernel
WIDTHS = [5, 150, 200]


def within(rows, H, nonlinearity):
    """The rows of a table of kinks, and zeros up to H."""
    z, b, expected = values(nonlinearity, rows)
    more = (0, H - len(z))
    pad = torch.nn.functional.pad
    return pad(z.detach(), more), None if b is None else pad(b.detach(), more), expected


@pytest.mark.each_value_once
@pytest.mark.parametrize("H", [16, *WIDTHS[1:]])
@every_nonlinearity
def test_the_table_of_derivatives_holds(interpreted, nonlinearity, H):
    rows = TABLE[nonlinearity]
    z, b, (h, dz, db) = within(rows, H, nonlinearity)
    inputs = Inputs(torch.zeros(1, 1, 1), torch.zeros(1, H), torch.eye(H), torch.zeros(H, 1), z, b)
    kind = Kind(nonlinearity)
    states = interpreted("forward", inputs, kind)
    torch.testing.assert_close(states[0, 0, : len(rows)], h)
    needed = Needed(*[True] * 6)
    gradients = interpreted("backward", torch.ones_like(states), inputs, states, kind, needed)
    assert torch.equal(gradients.bias[: len(rows)], dz)
    assert b is None or torch.equal(gradients.modrelu_bias[: len(rows)], db)


@pytest.mark.each_value_once
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("H", WIDTHS)
@every_nonlinearity
def test_what_is_not_finite_spreads_as_in_torch(interpreted, nonlinearity, H, bad):
    b = torch.full((H,), 0.01) if NONLINEARITIES[nonlinearity].has_bias else None
    x, w_hh = torch.randn(4, 2, 2), torch.rand(H, H) + 0.1
    x[1, 0, 1] = bad
    inputs = Inputs(x, torch.randn(2, H), w_hh / H, torch.rand(H, 2) + 0.1, torch.randn(H), b)
    kind = Kind(nonlinearity)
    h = eager.forward(inputs, kind)
    arguments = (torch.rand(4, 2, H) + 0.1, inputs, h, kind, Needed(*[True] * 6))
    gradients = interpreted("backward", *arguments)
    expected = eager.backward(*arguments)
    pairs = [(interpreted("forward", inputs, kind), h), *zip(gradients, expected, strict=True)]
    for a, b in pairs:
        assert (a is None) == (b is None)
        if a is not None:
            assert torch.equal(a.isnan(), b.isnan())
            torch.testing.assert_close(a, b, rtol=0.05, atol=0.05, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_tanh_has_all_its_digits_however_small_or_large(interpreted, dtype):
    z = torch.cat([torch.logspace(-30, 30, 40, dtype=dtype), torch.linspace(0, 30, 24).to(dtype)])
    z, H = torch.cat([z, -z]), 128
    zeros = (z.new_zeros(size) for size in ((1, 1, 1), (1, H), (H, H), (H, 1)))
    h = interpreted("forward", Inputs(*zeros, z), Kind("tanh"))
    torch.testing.assert_close(h[0, 0], z.tanh(), rtol=8 * torch.finfo(dtype).eps, atol=0)


def test_without_triton_it_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert backend.unavailable.__wrapped__() == "triton is not installed (extra 'gpu')"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    pytest.importorskip("triton")
    assert backend.unavailable.__wrapped__() == "torch finds no GPU"


def test_a_broken_triton_is_one_line(monkeypatch):
    def broken():
        raise ImportError("libsomething.so:\nno such file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(backend, "_kernels", broken)
    assert backend.unavailable.__wrapped__() == (
        r"triton cannot be used: ImportError('libsomething.so:\nno such file')"
    )


def test_without_its_interpreter_it_takes_no_cpu():
    pytest.importorskip("triton")
    reason = backend.unsupported([torch.zeros(2, 1, 3)], Kind("tanh"))
    assert reason == "it takes one dtype, float32 or float64, on cuda, got torch.float32 on cpu"


def test_the_interpreter_is_available_and_takes_a_cpu(interpreted):
    assert interpreted("unavailable") is None
    assert interpreted("unsupported", [torch.zeros(2, 1, 3), None], Kind("tanh")) is None


@pytest.mark.parametrize(
    ("nonlinearity", "dtypes", "message"),
    [
        ("gelu", (torch.float32,), "nonlinearity must be one of ['identity', "),
        (
            "tanh",
            (torch.float16,),
            "it takes one dtype, float32 or float64, on cpu, got torch.float16 on cpu",
        ),
        (
            "tanh",
            (torch.float32, torch.float64),
            "it takes one dtype, float32 or float64, on cpu, got torch.float64 on cpu",
        ),
    ],
    ids=["nonlinearity", "half", "mixed"],
)
def test_what_it_does_not_take_is_refused_in_one_line(interpreted, nonlinearity, dtypes, message):
    tensors = [torch.zeros(2, 1, 3, dtype=dtype) for dtype in dtypes]
    assert interpreted("unsupported", tensors, Kind(nonlinearity)).startswith(message)


@pytest.mark.parametrize("sizes", [None, torch.tensor([3, 2, 2, 1])])
def test_the_steps_of_each_sequence_are_counted_whatever_the_default_device(sizes):
    x = torch.zeros(*((4, 3) if sizes is None else (8,)), 1)
    with torch.device("meta"):
        (chunk,) = backend._cut(x, sizes, 4)
    assert chunk.lengths.tolist() == ([4, 4, 4] if sizes is None else [4, 3, 1])
