import time

import pytest
import torch
from geoopt import ManifoldParameter
from torch import nn

from benchmarks import models
from benchmarks.models import (
    Network,
    assemble,
    count_parameters,
    degrees_of_freedom,
    largest_hidden_size,
    orthogonal_parameters,
    orthogonal_weights,
    orthogonality_error,
)

PLAIN = ["rnn", "irnn", "lstm", "gru"]
FREE = ["ortho_soft", "ortho_free"]
KEPT = ["ortho", "exprnn", "dtriv", "scornn", "householder"]
every = pytest.mark.parametrize("name", PLAIN + FREE + KEPT)

SHAPES = {
    "plain": (Network(), {}),
    "deep": (Network(num_layers=2, bidirectional=True), {}),
    "tokens": (Network(embedding_size=4), {"input_size": 9, "tokens": True}),
    "tied": (Network(bidirectional=True, tie_weights=True), {"input_size": 9, "tokens": True}),
}


def build(name, shape="plain"):
    network, facts = SHAPES[shape]
    facts = {"input_size": 10, "output_size": 9, **facts}
    return lambda hidden_size: assemble(
        getattr(models, name), network, hidden_size=hidden_size, **facts
    )


@pytest.mark.each_value_once
@every
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("budget", [600, 19_000])
def test_hidden_size_is_the_largest_that_fits_the_budget(name, shape, budget):
    make = build(name, shape)
    size = largest_hidden_size(make, budget)
    assert count_parameters(make(size)) <= budget < count_parameters(make(size + 1))


@every
def test_search_for_a_size_is_quick_and_draws_nothing(name):
    torch.manual_seed(3)
    began = time.process_time()
    largest_hidden_size(build(name, "deep"), 1_320_000)
    assert time.process_time() - began < 1
    after = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(3), after)


@pytest.mark.each_value_once
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FREE + KEPT)
def test_orthogonal_methods_get_the_same_size(name, shape):
    expected = largest_hidden_size(build("ortho", shape), 19_000)
    assert largest_hidden_size(build(name, shape), 19_000) == expected


@pytest.mark.parametrize(
    ("name", "budget", "size"),
    [
        ("ortho", 19_000, 128),
        ("ortho", 40_000, 190),
        ("rnn", 19_000, 127),
        ("irnn", 19_000, 127),
        ("lstm", 19_000, 62),
        ("gru", 19_000, 72),
    ],
)
def test_default_budgets_give_the_known_sizes(name, budget, size):
    assert largest_hidden_size(build(name), budget) == size


def test_impossible_budget_is_refused():
    with pytest.raises(ValueError, match="parameter_budget=3 is too small"):
        largest_hidden_size(build("ortho"), 3)


@pytest.mark.parametrize("name", PLAIN + FREE + ["ortho"])
@pytest.mark.parametrize("shape", SHAPES)
def test_count_is_what_is_stored_where_weights_are_plain(name, shape):
    model = build(name, shape)(6)
    assert count_parameters(model) == len(nn.utils.parameters_to_vector(model.parameters()))


def test_tied_weight_counts_once():
    tied = build("gru", "tied")(6)
    readout, projection, embedding = 9 * 6 + 9, 12 * 6, 9 * 6
    core = count_parameters(tied.core)
    assert count_parameters(tied) == core + readout + projection
    assert count_parameters(tied.embedding) == embedding


@pytest.mark.parametrize(("shape", "weights"), [("plain", 1), ("deep", 4)])
@pytest.mark.parametrize("name", KEPT)
def test_degrees_of_freedom_count_the_dimension_of_the_group(name, shape, weights):
    model = build(name, shape)(6)
    assert count_parameters(model) - degrees_of_freedom(model) == weights * (36 - 15)


@pytest.mark.parametrize("name", PLAIN + FREE)
def test_degrees_of_freedom_of_free_weights_are_all(name):
    model = build(name)(6)
    assert count_parameters(model) == degrees_of_freedom(model)


@pytest.mark.parametrize("name", ["exprnn", "dtriv", "scornn"])
def test_skew_maps_store_no_more_than_they_can_use(name):
    model = build(name)(6)
    stored = len(nn.utils.parameters_to_vector(model.parameters()))
    assert stored == degrees_of_freedom(model)


@pytest.mark.parametrize("name", FREE + KEPT)
def test_orthogonal_weights_are_those_that_act(name):
    model = build(name, "deep")(7)
    weights = orthogonal_weights(model)
    ends = ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
    assert list(weights) == [f"core.weight_hh{end}" for end in ends]
    for key, w in weights.items():
        assert type(w) is torch.Tensor
        assert not w.requires_grad
        assert torch.equal(w, getattr(model.core, key.removeprefix("core.")))
        torch.testing.assert_close(w.mT @ w, torch.eye(7), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", FREE + KEPT)
def test_every_method_starts_orthogonal(name):
    assert orthogonality_error(build(name, "deep")(7)) < 1e-5


@pytest.mark.parametrize("weight", range(4))
def test_orthogonality_error_is_the_worst_of_all_weights(weight):
    model = build("ortho_free", "deep")(7)
    with torch.no_grad():
        orthogonal_parameters(model)[weight].mul_(2)
    assert orthogonality_error(model) == pytest.approx(3 * 7**0.5)


@pytest.mark.parametrize("name", PLAIN)
def test_other_models_have_no_orthogonal_weights(name):
    model = build(name)(6)
    assert orthogonal_weights(model) == {}
    assert orthogonality_error(model) is None
    assert orthogonal_parameters(model) == []


@pytest.mark.parametrize("name", FREE + KEPT)
def test_orthogonal_parameters_are_all_that_moves_the_recurrent_weights(name):
    model = build(name, "deep")(6)
    slow = {id(p) for p in orthogonal_parameters(model)}
    found = {key for key, p in model.named_parameters() if id(p) in slow}
    assert found == {key for key, _ in model.named_parameters() if "weight_hh" in key}
    assert len(slow) == 4


def test_points_of_a_manifold_are_slow():
    assert all(isinstance(p, ManifoldParameter) for p in orthogonal_parameters(build("ortho")(6)))
