"""Triton's kernels where numbers end, and what their caller refuses."""

import importlib.util
import math

import pytest
import torch

from orthornn.recurrence.fused import run_backward, run_forward
from orthornn.recurrence.nonlinearity import NONLINEARITIES
from orthornn.recurrence.triton import engine as backend
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
    inputs = (torch.zeros(1, 1, 1), torch.zeros(1, H), torch.eye(H), torch.zeros(H, 1), z, b)
    found = interpreted("run_forward", *inputs, nonlinearity)
    torch.testing.assert_close(found[0, 0, : len(rows)], h)
    asked = (torch.ones_like(found), inputs, found, nonlinearity, None, [True] * 6)
    *_, dc, dthreshold = interpreted("run_backward", *asked)
    assert torch.equal(dc[: len(rows)], dz)
    assert b is None or torch.equal(dthreshold[: len(rows)], db)


@pytest.mark.each_value_once
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("H", WIDTHS)
@every_nonlinearity
def test_what_is_not_finite_spreads_as_in_the_fused_recurrence(interpreted, nonlinearity, H, bad):
    threshold = torch.full((H,), 0.01) if NONLINEARITIES[nonlinearity].has_bias else None
    x, w_hh = torch.randn(4, 2, 2), torch.rand(H, H) + 0.1
    x[1, 0, 1] = bad
    inputs = [x, torch.randn(2, H), w_hh / H, torch.rand(H, 2) + 0.1, torch.randn(H), threshold]
    h = run_forward(*inputs, nonlinearity)
    found = interpreted("run_forward", *inputs, nonlinearity)
    asked = (torch.rand(4, 2, H) + 0.1, inputs, h, nonlinearity, None, [True] * 6)
    gradients = interpreted("run_backward", *asked)
    pairs = [(found, h), *zip(gradients, run_backward(*asked), strict=True)]
    for a, b in pairs:
        assert (a is None) == (b is None)
        if a is not None:
            assert torch.equal(a.isnan(), b.isnan())
            torch.testing.assert_close(a, b, rtol=0.05, atol=0.05, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_tanh_has_all_its_digits_however_small_or_large(interpreted, dtype):
    z = torch.cat([torch.logspace(-30, 30, 40, dtype=dtype), torch.linspace(0, 30, 24).to(dtype)])
    z, H = torch.cat([z, -z]), 128
    inputs = (z.new_zeros(1, 1, 1), z.new_zeros(1, H), torch.zeros(H, H).to(dtype))
    h = interpreted("run_forward", *inputs, z.new_zeros(H, 1), z, None, "tanh")
    torch.testing.assert_close(h[0, 0], z.tanh(), rtol=8 * torch.finfo(dtype).eps, atol=0)


def test_without_triton_it_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert backend.available.__wrapped__() == "triton is not installed (extra 'gpu')"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    pytest.importorskip("triton")
    assert backend.available.__wrapped__() == "torch finds no GPU"
    with pytest.raises(ValueError, match="torch finds no GPU"):
        backend.run_forward(torch.zeros(1, 1, 1), *[None] * 5, "tanh")


def test_a_broken_triton_is_one_line(monkeypatch):
    def broken():
        raise ImportError("libsomething.so:\nno such file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(backend, "_kernels", broken)
    assert backend.available.__wrapped__() == (
        r"triton cannot be used: ImportError('libsomething.so:\nno such file')"
    )


def test_without_its_interpreter_it_takes_no_cpu():
    pytest.importorskip("triton")
    x, h0 = torch.zeros(2, 1, 3), torch.zeros(1, 4)
    assert backend.fits(x, h0, "tanh") == "x must be on a GPU, got cpu"


def test_the_interpreter_is_available_and_takes_a_cpu(interpreted):
    x, h0 = torch.zeros(2, 1, 3), torch.zeros(1, 4)
    assert interpreted("available") is None
    assert interpreted("fits", x, h0, "tanh") is None


@pytest.mark.parametrize(
    ("nonlinearity", "dtype", "message"),
    [
        ("gelu", torch.float32, r"nonlinearity must be one of \['identity', .*\], got 'gelu'"),
        ("tanh", torch.float16, "both float32 or both float64, got torch.float16 and"),
    ],
    ids=["nonlinearity", "half"],
)
def test_what_does_not_fit_is_refused_in_one_line(interpreted, nonlinearity, dtype, message):
    sizes = ((2, 1, 3), (1, 4), (4, 4), (4, 3))
    inputs = [*(torch.zeros(size, dtype=dtype) for size in sizes), None, None]
    with pytest.raises(ValueError, match=message):
        interpreted("run_forward", *inputs, nonlinearity)
    with pytest.raises(ValueError, match=message):
        interpreted("run_backward", None, [*inputs], None, nonlinearity, None, [True] * 6)
