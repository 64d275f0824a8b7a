"""Horizons and tables of products, beside groups and models whose answers are known."""

import itertools

import pytest
import torch

from orthornn import SwitchedOrthoRNN
from orthornn.diagnostics import (
    characters,
    homomorphism_error,
    horizon,
    product_table,
    representations,
)

PERMUTATIONS = sorted(itertools.permutations(range(4)))
TABLE = torch.tensor(
    [[PERMUTATIONS.index(tuple(a[i] for i in b)) for b in PERMUTATIONS] for a in PERMUTATIONS]
)


def matrices():
    return torch.stack([torch.eye(4)[:, list(p)] for p in PERMUTATIONS])


def wrong_from(step, share=1.0):
    """A model that counts, and is wrong from a step on in a share of the batch."""

    def model(tokens, state):
        start = 0 if state is None else state
        position = start + torch.arange(len(tokens)).unsqueeze(1)
        batch = torch.arange(tokens.shape[1]) < share * tokens.shape[1]
        answer = torch.where((position >= step) & batch, 1 - tokens, tokens)
        return torch.nn.functional.one_hot(answer, 2).float(), start + len(tokens)

    return model


@pytest.mark.parametrize("segment", [7, 1000])
@pytest.mark.parametrize("stop", [False, True])
def test_the_horizon_is_where_the_first_wrong_window_begins(segment, stop, monkeypatch):
    monkeypatch.setattr(representations, "SEGMENT_STEPS", segment)
    tokens = torch.randint(2, (300, 20))
    found = horizon(wrong_from(200), tokens, tokens, window=10, accuracy=0.75, stop=stop)
    assert found.is_lost
    assert found.steps == 193  # the window 193 ... 202 holds three wrong steps
    assert len(found.accuracy) == (min(300, -(-203 // segment) * segment) if stop else 300)
    torch.testing.assert_close(found.accuracy[:200], torch.ones(200).double())


def test_a_model_that_is_right_is_never_lost():
    tokens = torch.randint(2, (100, 4))
    found = horizon(wrong_from(1000), tokens, tokens)
    assert (found.steps, found.is_lost) == (100, False)
    few = horizon(wrong_from(0, share=0.25), tokens, tokens, accuracy=0.7)
    assert (few.steps, few.is_lost) == (100, False)
    assert horizon(wrong_from(0, share=0.5), tokens, tokens, accuracy=0.7).steps == 0


def test_a_stream_shorter_than_a_window_is_refused():
    with pytest.raises(ValueError, match=r"at least 32 steps, got \(31, 4\) and \(31, 4\)"):
        horizon(wrong_from(0), *2 * [torch.zeros(31, 4)])


def test_the_table_of_a_representation_is_that_of_its_group():
    products = product_table(matrices())
    assert torch.equal(products.table, TABLE)
    assert products.errors.max() == 0
    assert homomorphism_error(matrices(), TABLE).max() == 0


def test_an_error_of_one_matrix_shows_in_its_products():
    turned = matrices()
    angle = torch.tensor(0.1)
    turn = torch.eye(4)
    turn[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    turned[5] = turn @ turned[5]
    errors = homomorphism_error(turned, TABLE)
    expected = torch.full((24, 24), (turn - torch.eye(4)).norm().item()).double()
    others = [i for i in range(24) if i != 5]
    clean = (TABLE != 5)[others][:, others]
    assert errors[others][:, others][clean].max() == 0
    torch.testing.assert_close(
        errors[5, others][(TABLE != 5)[5, others]],
        expected[5, others][(TABLE != 5)[5, others]],
        rtol=1e-5,
        atol=0,
    )
    with pytest.raises(ValueError, match=r"a table of shape \(24, 24\), got \(2, 2\)"):
        homomorphism_error(turned, TABLE[:2, :2])


def test_characters_count_fixed_points_and_the_irreducible_parts():
    chi = characters(matrices())
    fixed = [sum(p[i] == i for i in range(4)) for p in PERMUTATIONS]
    assert chi.tolist() == fixed
    assert chi.square().mean() == 2  # the trivial part and the standard one


def test_matrices_of_a_module_act_as_it_does():
    for options in ({}, {"reflections": 3}):
        rnn = SwitchedOrthoRNN(5, 4, dtype=torch.float64, **options)
        tokens = torch.randint(5, (1, 7))
        expected = rnn.matrices()[tokens[0]] @ rnn.initial_state
        torch.testing.assert_close(rnn(tokens)[0][0], expected)


@pytest.mark.parametrize(
    "options", [{"window": 0}, {"window": -1}, {"accuracy": 99.0}, {"accuracy": float("nan")}]
)
def test_a_horizon_without_meaning_is_refused(options):
    tokens = torch.zeros(40, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="a window of at least 1 and an accuracy from 0 to 1"):
        horizon(wrong_from(0), tokens, tokens, **options)


def test_no_sequences_are_no_success():
    tokens = torch.zeros(40, 0, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"B > 0, of at least 32 steps, got \(40, 0\)"):
        horizon(wrong_from(0), tokens, tokens)


def test_scores_that_are_not_finite_name_nothing():
    tokens = torch.zeros(40, 2, dtype=torch.int64)

    def broken(part, state):
        return torch.full((*part.shape, 2), torch.nan), state

    assert horizon(broken, tokens, tokens).steps == 0
