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
)

FREE = ["switched_free", "switched_normalized"]
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
