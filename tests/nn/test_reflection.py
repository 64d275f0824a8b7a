"""ReflectionRNN: what it computes, and that over one-hot inputs it is a SwitchedOrthoRNN."""

import itertools

import pytest
import torch
from torch import nn

from orthornn import ReflectionRNN, SwitchedOrthoRNN
from tests.nn.cases import vary

OPTIONS = [
    {"additive": additive, "resets": resets, "reflections": k}
    for additive, resets, k in itertools.product([False, True], [False, True], [1, 3])
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def plain_loop(rnn, xs):
    """The formula over one sequence, (T, I) to (T, H)."""
    h, states = rnn.initial_state, []
    for x in xs:
        for v in rnn.vectors(x).view(rnn.reflections, rnn.hidden_size):
            h = h - 2 * v * (v @ h) / (v @ v)
        h = h + rnn.shift(x) if rnn.additive else h
        h = rnn.reset(x) if rnn.resets and rnn.gate(x) <= 0 else h
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("backend", [None, "autograd"])
@every_option
def test_states_and_gradients_follow_the_formula(options, backend):
    rnn = vary(ReflectionRNN(3, 5, backend=backend, dtype=torch.float64, **options))
    x = torch.randn(9, 2, 3, dtype=torch.float64, requires_grad=True)
    output, h_n = rnn(x)
    expected = torch.stack([plain_loop(rnn, x[:, b]) for b in range(2)], 1)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(h_n[0], expected[-1])
    learned = [p for name, p in rnn.named_parameters() if not name.startswith("gate")]
    if not options["resets"]:  # a gate hands the input its straight-through derivative too
        learned.append(x)
    torch.testing.assert_close(
        *(
            torch.autograd.grad(states.sin().sum(), learned, materialize_grads=True)
            for states in (output, expected)
        )
    )


@every_option
def test_over_one_hot_inputs_it_is_a_switched_network_of_reflections(options):
    switched = vary(SwitchedOrthoRNN(4, 5, dtype=torch.float64, **options))
    rnn = ReflectionRNN(4, 5, dtype=torch.float64, **options)
    with torch.no_grad():
        rnn.initial_state.copy_(switched.initial_state)
        for name, table in switched.named_children():
            linear = rnn.get_submodule(name)
            linear.weight.copy_(table.weight.T)
            linear.bias.zero_()
    tokens = torch.randint(4, (11, 3))
    inputs = nn.functional.one_hot(tokens, 4).double()
    results, losses = [], []
    for module, x in ((switched, tokens), (rnn, inputs)):
        results.append(module(x))
        losses.append(results[-1][0].sin().sum())
        losses[-1].backward()
    torch.testing.assert_close(*results)
    for name, table in switched.named_children():
        torch.testing.assert_close(rnn.get_submodule(name).weight.grad.T, table.weight.grad)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_step_is_orthogonal_with_the_determinant_of_its_reflections(k):
    rnn = ReflectionRNN(3, 5, k, dtype=torch.float64)
    eye, x = torch.eye(5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    w = rnn(x.expand(1, 5, 3), eye[None])[0][0].T
    torch.testing.assert_close(w.T @ w, eye)
    torch.testing.assert_close(torch.linalg.det(w).item(), (-1.0) ** k)


def test_ten_thousand_steps_keep_the_norm():
    rnn = ReflectionRNN(3, 16, 4)
    output, _ = rnn(torch.randn(10_000, 1, 3))
    torch.testing.assert_close(output.norm(dim=-1), torch.ones(10_000, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("reflections", [0, None, True, 2.5])
def test_another_number_of_reflections_is_refused(reflections):
    with pytest.raises(ValueError, match=f"an int of at least 1, got {reflections}"):
        ReflectionRNN(3, 5, reflections)


def test_repr_shows_the_options():
    text = repr(ReflectionRNN(3, 5, 2, additive=True, backend="eager"))
    assert text.startswith("ReflectionRNN(\n  3, 5, reflections=2, additive=True, backend=eager\n")
