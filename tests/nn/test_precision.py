"""Half precision goes in and comes out; the recurrent weight and the states stay exact."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, OrthoRNNCell, RiemannianSGD, param_groups
from orthornn.diagnostics import orthogonality_error
from tests.nn.cases import (
    every_module,
    every_module_with_points,
    every_network,
    every_transition,
)
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
@every_module
def test_recurrent_weight_is_float32_and_the_rest_half(make, dtype, way):
    try:
        if way == "default":
            torch.set_default_dtype(dtype)
        module = make(3, 5, **({"dtype": dtype} if way == "constructed" else {}))
    finally:
        torch.set_default_dtype(torch.float32)
    if way == "moved":
        module.to(dtype)
    for name, p in module.named_parameters():
        assert p.dtype == (torch.float32 if "weight_hh" in name else dtype)
    assert (orthogonality_error(module) or 0) < 1e-6


@half
@every_module_with_points
def test_half_and_back_does_not_change_the_recurrent_weight(dtype, make):
    module = make(3, 5)
    module(make.draw(*([2] if make.is_cell else [4, 2])))[0].sum().backward()
    name = next(name for name, _ in module.named_parameters() if "weight_hh" in name)
    kept = module.get_parameter(name)
    w, grad = kept.detach().clone(), kept.grad.clone()
    module.to(dtype)
    assert torch.equal(module.get_parameter(name).grad, grad)
    others = [p for p in module.parameters() if p is not module.get_parameter(name)]
    assert {p.grad.dtype for p in others} == {dtype}
    assert torch.equal(module.float().get_parameter(name), w)
    double = make(3, 5, dtype=torch.float64).to(dtype)
    assert double.get_parameter(name).dtype == torch.float32


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
@every_transition
def test_states_of_a_transition_are_rounded_only_where_they_come_out(dtype, make):
    rnn = make(3, 16).to(dtype)
    x, h0 = make.draw(50, 2, dtype=dtype), make.draw_state(2, hidden_size=16, dtype=dtype)
    exact_input = x.float() if x.is_floating_point() else x
    expected = exact(rnn.float(), dtype)(exact_input, h0.float())
    for a, b in zip(rnn.to(dtype)(x, h0), expected, strict=True):
        assert a.dtype == dtype
        assert close(a, b, dtype)
    packed = pack_sequence([x[:4, 0], x[:6, 1]], enforce_sorted=False)
    output, h_n = rnn(packed)
    assert (output.data.dtype, h_n.dtype) == (dtype, dtype)


@every_network
def test_the_output_has_the_dtype_of_the_parameters(make):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        module, x = make(3, 5, dtype=dtype), make.draw(4, 2, dtype=dtype)
        output, h_n = module(x)
        assert (output.dtype, h_n.dtype) == (dtype, dtype)
        with torch.no_grad():  # the same where no gradient is asked for
            assert module(x)[0].dtype == dtype


@half
@every_transition
def test_autocast_of_a_transition_rounds_the_output_alone(dtype, make):
    module, x = make(3, 16), make.draw(200, 2)
    with torch.autocast("cpu", dtype):
        output, h_n = module(x)
        again, _ = module(x, h_n)
        double, _ = make(3, 5, dtype=torch.float64)(make.draw(6, 2, dtype=torch.float64))
    assert [a.dtype for a in (output, h_n, again, double)] == [dtype] * 3 + [torch.float64]
    assert close(output, module(x)[0], dtype)
    output.float().sum().backward()
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32}


@every_transition
@pytest.mark.parametrize("which", ["module", "state"])
def test_autocast_of_a_transition_does_not_mix_in_float64(make, which):
    dtypes = [torch.float64 if name == which else torch.float32 for name in ("module", "state")]
    module, h0 = make(3, 5, dtype=dtypes[0]), make.draw_state(2, dtype=dtypes[1])
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="type"):
        module(make.draw(4, 2), h0)


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


@every_network
def test_a_half_precision_module_trains(make):
    rnn = make(3, 8).bfloat16()
    optimizer = RiemannianSGD(param_groups(rnn, lr=1.0, lr_ortho=1e-2))
    start = copy.deepcopy(rnn.state_dict())
    for _ in range(3):
        optimizer.zero_grad()
        rnn(make.draw(20, 2, dtype=torch.bfloat16))[0].float().sin().mean().backward()
        optimizer.step()
    assert not any(torch.equal(start[name], p) for name, p in rnn.named_parameters())
    assert (orthogonality_error(rnn) or 0) < 1e-6


@every_module
def test_complex_modules_are_refused(make):
    with pytest.raises(ValueError, match="complex64"):
        make(3, 5, dtype=torch.complex64)
    module = make(3, 5)
    with (
        pytest.warns(UserWarning, match="Complex modules"),
        pytest.raises(TypeError, match="expected a real dtype"),
    ):
        module.to(torch.complex64)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
