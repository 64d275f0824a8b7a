"""Half precision goes in and comes out; the recurrent weight and the states stay exact."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, OrthoRNNCell, RiemannianSGD, param_groups
from orthornn.diagnostics import orthogonality_error
from tests.peers import every_cell, every_layer

HALF = [torch.float16, torch.bfloat16]
half = pytest.mark.parametrize("dtype", HALF, ids=str)


def exact(module, dtype):
    """``module`` in float32, all weights but the recurrent ones rounded to ``dtype``."""
    twin = copy.deepcopy(module)
    for name, p in twin.named_parameters():
        if "weight_hh" not in name:
            p.data = p.data.to(dtype).float()
    return twin


def close(rounded, exact, dtype):
    """Whether one rounding at the end explains the difference."""
    eps = torch.finfo(dtype).eps
    return torch.allclose(rounded.float(), exact, rtol=eps, atol=eps)


@half
@pytest.mark.parametrize("way", ["moved", "constructed", "default"])
def test_recurrent_weight_is_float32_and_the_rest_half(dtype, way):
    try:
        if way == "default":
            torch.set_default_dtype(dtype)
        modules = [
            make(3, 5, **({"dtype": dtype} if way == "constructed" else {}))
            for make in (OrthoRNN, OrthoRNNCell)
        ]
    finally:
        torch.set_default_dtype(torch.float32)
    for module in modules:
        if way == "moved":
            module.to(dtype)
        for name, p in module.named_parameters():
            assert p.dtype == (torch.float32 if "weight_hh" in name else dtype)
        assert orthogonality_error(module) < 1e-6


@half
def test_half_and_back_does_not_change_the_recurrent_weight(dtype):
    rnn = OrthoRNN(3, 5)
    rnn(torch.randn(4, 2, 3))[0].sum().backward()
    w, grad = rnn.weight_hh_l0.detach().clone(), rnn.weight_hh_l0.grad.clone()
    rnn.to(dtype)
    assert torch.equal(rnn.weight_hh_l0.grad, grad)
    assert rnn.weight_ih_l0.grad.dtype == dtype
    assert torch.equal(rnn.float().weight_hh_l0, w)
    assert OrthoRNN(3, 5, dtype=torch.float64).to(dtype).weight_hh_l0.dtype == torch.float32


@half
def test_states_are_rounded_only_where_they_come_out(dtype):
    rnn = OrthoRNN(3, 16, 2, bidirectional=True).to(dtype)
    x, h0 = torch.randn(50, 2, 3).to(dtype), torch.randn(4, 2, 16).to(dtype)
    expected = exact(rnn.float(), dtype)(x.float(), h0.float())
    found = rnn.to(dtype)(x, h0)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert close(a, b, dtype)
    packed = pack_sequence([torch.randn(4, 3).to(dtype), torch.randn(6, 3).to(dtype)], False)
    assert rnn(packed)[0].data.dtype == dtype
    cell = OrthoRNNCell(3, 5).to(dtype)
    out = cell(x[0])
    assert out.dtype == dtype
    assert close(out, exact(cell.float(), dtype)(x[0].float()), dtype)


@half
@every_layer
def test_autocast_returns_what_it_does_for_torch(dtype, make):
    module, x = make(3, 5, 2), torch.randn(6, 2, 3)
    with torch.autocast("cpu", dtype):
        output, h_n = module(x)
        again, _ = module(x, h_n)
        double, _ = make(3, 5).double()(x.double())
    assert (output.dtype, h_n.dtype, again.dtype, double.dtype) == (
        dtype,
        dtype,
        dtype,
        torch.float64,
    )
    output.float().sum().backward()
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32}


@half
@every_cell
def test_autocast_of_a_cell_returns_what_it_does_for_torch(dtype, make):
    with torch.autocast("cpu", dtype):
        out = make(3, 5)(torch.randn(2, 3))
        assert make(3, 5)(torch.randn(2, 3), out).dtype == dtype
    assert out.dtype == dtype


@half
def test_autocast_does_not_round_the_recurrence(dtype):
    rnn, cell = OrthoRNN(3, 16), OrthoRNNCell(3, 16)
    x = torch.randn(200, 2, 3)
    with torch.autocast("cpu", dtype):
        found, step = rnn(x)[0], cell(x[0])
    assert close(found, rnn(x)[0], dtype)
    assert close(step, cell(x[0]), dtype)


@every_layer
@pytest.mark.parametrize("which", ["module", "input", "state"])
def test_autocast_does_not_mix_in_float64(make, which):
    module, x, h0 = make(3, 5), torch.randn(4, 2, 3), torch.randn(1, 2, 5)
    if which == "module":
        module.double()
    x = x.double() if which == "input" else x
    h0 = h0.double() if which == "state" else h0
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match=r"type"):
        module(x, h0)


@every_layer
def test_integers_are_refused_under_autocast_too(make):
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="dtype"):
        make(3, 5)(torch.ones(4, 2, 3, dtype=torch.int64))


def test_a_linear_recurrence_in_bfloat16_keeps_its_norm_over_ten_thousand_steps():
    rnn = OrthoRNN(1, 16, nonlinearity="identity", bias=False).bfloat16()
    h0 = torch.randn(1, 1, 16).bfloat16()
    _, h_n = rnn(torch.zeros(10_000, 1, 1, dtype=torch.bfloat16), h0)
    ratio = h_n.float().norm() / h0.float().norm()
    assert ratio.item() == pytest.approx(1.0, abs=1e-2)


def test_a_half_precision_module_trains():
    rnn = OrthoRNN(3, 8).bfloat16()
    optimizer = RiemannianSGD(param_groups(rnn, lr=1e-2, lr_ortho=1e-2))
    start = copy.deepcopy(rnn.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        rnn(torch.randn(6, 2, 3).bfloat16())[0].float().square().mean().backward()
        optimizer.step()
    assert not torch.equal(start["weight_hh_l0"], rnn.weight_hh_l0)
    assert orthogonality_error(rnn) < 1e-6


@pytest.mark.parametrize("make", [OrthoRNN, OrthoRNNCell])
def test_complex_modules_are_refused(make):
    module = make(3, 5)
    with (
        pytest.warns(UserWarning, match="Complex modules"),
        pytest.raises(TypeError, match="expected a real dtype"),
    ):
        module.to(torch.complex64)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
