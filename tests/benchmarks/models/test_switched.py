"""The cores with a matrix for each token, and the model around them, which has no embedding."""

import pytest
import torch

from benchmarks import models
from benchmarks.models import (
    Network,
    assemble,
    count_parameters,
    degrees_of_freedom,
    orthogonal_parameters,
    orthogonal_weights,
    orthogonality_error,
    reduce_model,
)
from orthornn import haar_

FREE = ["switched_free", "switched_normalized"]
KEPT = ["switched", "switched_resets"]
free = pytest.mark.parametrize("name", FREE)


def build(name, network=None, tokens=True, hidden_size=4):
    make = getattr(models, name)
    facts = {"input_size": 7, "output_size": 5, "tokens": tokens}
    return assemble(make, network or Network(), hidden_size=hidden_size, **facts)


@free
def test_states_are_products_of_the_matrices_of_the_tokens(name):
    core = build(name).double().core
    tokens = torch.randint(7, (9, 3))
    with torch.no_grad():
        core.weight_hh.mul_(1.3)
    states, end = core(tokens)
    for b in range(3):
        h = core.initial_state
        for t, token in enumerate(tokens[:, b]):
            h = core.weight_hh[token] @ h
            if name == "switched_normalized":
                h = h / h.norm()
            torch.testing.assert_close(states[t, b], h)
    assert torch.equal(end, states[-1:])


@free
def test_two_halves_with_the_state_carried_are_the_whole(name):
    model = build(name).double()
    tokens = torch.randint(7, (9, 3))
    whole, end = model(tokens)
    first, state = model(tokens[:4])
    second, last = model(tokens[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, end)


@pytest.mark.parametrize(
    ("name", "count", "freedom"),
    [
        ("switched", 7 * 16 + 4 + 25, 7 * 6 + 4 + 25),
        ("switched_resets", 7 * 16 + 4 + 25 + 7 * 5, 7 * 6 + 4 + 25 + 7 * 5),
        ("reflections", 7 * 16 + 4 + 25, 7 * 16 + 4 + 25),
    ],
)
def test_an_orthogonal_matrix_a_token_is_counted_as_it_is_stored(name, count, freedom):
    model = build(name)
    assert model.embedding is None
    assert count_parameters(model) == count
    assert degrees_of_freedom(model) == freedom


@pytest.mark.parametrize("name", KEPT)
def test_matrices_that_are_kept_orthogonal_are_points(name):
    model = build(name)
    assert orthogonality_error(model) < 1e-5
    assert orthogonal_parameters(model) == [model.core.weight_hh]


def test_the_vectors_of_reflections_are_plain_parameters():
    model = build("reflections")
    assert orthogonality_error(model) is None
    assert orthogonal_parameters(model) == []


@free
def test_the_model_has_no_embedding_and_counts_a_matrix_a_token(name):
    model = build(name)
    assert model.embedding is None
    assert count_parameters(model) == 7 * 16 + 4 + 5 * 4 + 5 == degrees_of_freedom(model)


@free
def test_matrices_start_orthogonal_and_are_moved_by_the_step_size_of_recurrence(name):
    model = build(name)
    assert orthogonality_error(model) < 1e-5
    assert [w.shape for w in orthogonal_weights(model).values()] == [(7, 4, 4)]
    assert orthogonal_parameters(model) == [model.core.weight_hh]
    with torch.no_grad():
        model.core.weight_hh[3].mul_(2)
    assert orthogonality_error(model) == pytest.approx(3 * 4**0.5)


@pytest.mark.parametrize("network", [Network(embedding_size=3), Network(tie_weights=True)])
def test_an_embedding_is_refused(network):
    facts = {"input_size": 7, "output_size": 7, "tokens": True}
    with pytest.raises(ValueError, match="reads the tokens themselves and has no embedding"):
        assemble(models.switched_free, network, hidden_size=4, **facts)


def test_a_task_without_tokens_is_refused():
    with pytest.raises(ValueError, match="needs a task of tokens"):
        build("switched_free", tokens=False)


def test_a_reduced_model_answers_as_the_model_does():
    model = build("switched", hidden_size=6)
    with torch.no_grad():  # matrices that leave three of the six dimensions alone
        model.core.weight_hh.copy_(torch.eye(6))
        model.core.weight_hh[:, :3, :3] = haar_(torch.empty(7, 3, 3))
        model.core.initial_state[3:] = 0
    tokens = torch.randint(7, (40, 30))
    smaller = reduce_model(model, tokens)
    assert smaller.hidden_size == smaller.core.hidden_size == 3
    torch.testing.assert_close(smaller(tokens)[0], model(tokens)[0], rtol=1e-4, atol=1e-4)


def test_a_model_with_another_core_is_not_reduced():
    with pytest.raises(TypeError, match="expected a SwitchedOrthoRNN to reduce, got SwitchedRNN"):
        reduce_model(build("switched_free"), torch.randint(7, (4, 3)))
