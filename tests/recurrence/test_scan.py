"""Linear recurrences in parallel chunks of time equal those that run step by step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthornn import OrthoRNN, haar_
from orthornn.recurrence import fused, scan
from orthornn.recurrence.autograd import by_hand
from orthornn.recurrence.engines import fastest


def problem(T, B, I, H, dtype=torch.float64):
    x, h0 = torch.randn(T, B, I, dtype=dtype), torch.randn(B, H, dtype=dtype)
    w = haar_(torch.empty(H, H, dtype=dtype))
    return x, h0, w, torch.randn(H, I, dtype=dtype), torch.randn(H, dtype=dtype), None


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.data())
def test_states_and_gradients_are_those_of_the_loop(T, B, I, H, data):
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    needed = [*data.draw(st.lists(st.booleans(), min_size=5, max_size=5)), False]
    inputs = problem(T, B, I, H)
    states = scan.run_forward(*inputs, "identity")
    torch.testing.assert_close(states, fused.run_forward(*inputs, "identity"))
    g = torch.randn_like(states)
    before = g.clone()
    arguments = (g, inputs, states, "identity", None, needed)
    torch.testing.assert_close(scan.run_backward(*arguments), fused.run_backward(*arguments))
    assert torch.equal(g, before)


def test_ten_thousand_steps_in_float32_stay_near_the_loop_in_float64():
    rough = problem(10_000, 1, 3, 40, torch.float32)
    exact = [None if a is None else a.double() for a in rough]
    h, expected = scan.run_forward(*rough, "identity"), fused.run_forward(*exact, "identity")
    assert (h - expected).norm() < 1e-5 * expected.norm()


def test_a_layer_takes_both_derivatives_through_it():
    x, h0, w, v, c, _ = problem(20, 2, 2, 3)
    given = [a.requires_grad_() for a in (x, h0, w, v, c)]

    def run(*tensors):
        return by_hand(*tensors, None, "identity", name="scan")

    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


@pytest.mark.parametrize("compiler", [True, False])
def test_it_is_chosen_for_one_long_sequence(compiler, monkeypatch):
    monkeypatch.setattr(scan.cpu, "missing", lambda *_: None if compiler else "no compiler")

    def name(T, B, H, nonlinearity="identity", sizes=None):
        x, h0, w, v, *_ = problem(T, B, 2, H, torch.float32)
        return fastest((x, h0, w, v, None, None), nonlinearity, sizes)

    assert name(10_000, 1, 20) == "scan"
    assert (name(1000, 1, 20) == "scan") is not compiler
    assert name(10_000, 1, 20, "relu") != "scan"
    assert name(10_000, 1, 20, sizes=torch.ones(10_000, dtype=torch.int64)) != "scan"
    assert name(10_000, 16, 20) != "scan"
    assert name(20, 1, 20) != "scan"


@pytest.mark.parametrize("nonlinearity", ["modrelu", "tanh"])
def test_it_is_refused_for_what_is_not_linear_when_the_layer_is_made(nonlinearity):
    with pytest.raises(ValueError, match=f"'identity', got '{nonlinearity}'"):
        OrthoRNN(2, 3, nonlinearity=nonlinearity, backend="scan")
