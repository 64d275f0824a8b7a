"""Linear recurrences in parallel chunks of time equal those that run step by step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthornn import OrthoRNN, backends, haar_
from orthornn.recurrence import ELMAN
from orthornn.recurrence.elman import compiled as cpu
from orthornn.recurrence.elman import eager
from orthornn.recurrence.elman.inputs import Inputs, Kind, Needed
from orthornn.recurrence.elman.triton import engine as triton

SCAN, LINEAR = ELMAN.backends["scan"], Kind("identity")

needs_compiler = pytest.mark.skipif(backends()["c"] is not None, reason=str(backends()["c"]))


def problem(T, B, I, H, dtype=torch.float64):
    x, h0 = torch.randn(T, B, I, dtype=dtype), torch.randn(B, H, dtype=dtype)
    w = haar_(torch.empty(H, H, dtype=dtype))
    return Inputs(x, h0, w, torch.randn(H, I, dtype=dtype), torch.randn(H, dtype=dtype))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.data())
def test_states_and_gradients_are_those_of_the_loop(T, B, I, H, data):
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    needed = Needed(*data.draw(st.lists(st.booleans(), min_size=5, max_size=5)))
    inputs = problem(T, B, I, H)
    states = SCAN.forward(inputs, LINEAR)
    torch.testing.assert_close(states, eager.forward(inputs, LINEAR))
    g = torch.randn_like(states)
    before = g.clone()
    arguments = (g, inputs, states, LINEAR, needed)
    torch.testing.assert_close(SCAN.backward(*arguments), eager.backward(*arguments))
    assert torch.equal(g, before)


def test_ten_thousand_steps_in_float32_stay_near_the_loop_in_float64():
    rough = problem(10_000, 1, 3, 40, torch.float32)
    exact = Inputs(*(None if a is None else a.double() for a in rough))
    h, expected = SCAN.forward(rough, LINEAR), eager.forward(exact, LINEAR)
    assert (h - expected).norm() < 1e-5 * expected.norm()


def test_a_layer_takes_both_derivatives_through_it():
    tensors = [a.requires_grad_() for a in problem(20, 2, 2, 3) if a is not None]

    def run(*tensors):
        return ELMAN.run(Inputs(*tensors), LINEAR, "scan")

    assert torch.autograd.gradcheck(run, tensors)
    assert torch.autograd.gradgradcheck(run, tensors)


@pytest.mark.parametrize("compiler", [pytest.param(True, marks=needs_compiler), False])
def test_it_is_chosen_for_one_long_sequence(compiler, monkeypatch):
    if not compiler:
        monkeypatch.setattr(cpu, "is_faster", lambda *_: False)

    def name(T, B, H, nonlinearity="identity", sizes=None):
        return ELMAN.fastest(problem(T, B, 2, H, torch.float32), Kind(nonlinearity, sizes))

    assert name(10_000, 1, 20) == "scan"
    assert (name(1000, 1, 20) == "scan") is not compiler
    assert name(10_000, 1, 20, "relu") != "scan"
    assert name(10_000, 1, 20, sizes=torch.ones(10_000, dtype=torch.int64)) != "scan"
    assert name(10_000, 16, 20) != "scan"
    assert name(20, 1, 20) != "scan"


def test_its_chunks_are_no_program_each(monkeypatch):
    """They are thousands of short sequences, for which a GPU has large products."""
    monkeypatch.setattr(ELMAN, "unavailable", lambda *_: None)
    for name in ("is_faster", "unsupported"):
        monkeypatch.setattr(triton, name, lambda *_, answer=name == "is_faster": answer or None)
    inputs = problem(20, 3, 2, 4, torch.float32)
    assert ELMAN.fastest(inputs, Kind("tanh")) == "triton"
    assert SCAN.choose_loop(inputs, LINEAR) in (cpu, eager)


@pytest.mark.parametrize("nonlinearity", ["modrelu", "tanh"])
def test_it_is_refused_for_what_is_not_linear_when_the_layer_is_made(nonlinearity):
    with pytest.raises(ValueError, match=f"'identity', got '{nonlinearity}'"):
        OrthoRNN(2, 3, nonlinearity=nonlinearity, backend="scan")
