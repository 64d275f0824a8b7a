import pytest
import torch

from benchmarks import models
from benchmarks.models import count_parameters, degrees_of_freedom, largest_hidden_size

every = pytest.mark.parametrize("name", ["ortho", "rnn", "lstm", "gru"])


def build(name):
    return lambda hidden_size: getattr(models, name)(10, 9, hidden_size)


@every
def test_model_maps_every_step(name):
    assert build(name)(6)(torch.randn(7, 2, 10)).shape == (7, 2, 9)


@every
@pytest.mark.parametrize("budget", [200, 1000, 19_000, 40_000])
def test_hidden_size_is_the_largest_that_fits_the_budget(name, budget):
    size = largest_hidden_size(build(name), budget)
    assert count_parameters(build(name)(size)) <= budget < count_parameters(build(name)(size + 1))


def test_default_budgets_give_the_published_sizes():
    assert largest_hidden_size(build("ortho"), 19_000) == 128
    assert largest_hidden_size(build("ortho"), 40_000) == 190


def test_impossible_budget_is_refused():
    with pytest.raises(ValueError, match="budget=3 is too small"):
        largest_hidden_size(build("ortho"), 3)


def test_degrees_of_freedom_count_the_dimension_of_the_manifold():
    ortho, rnn = build("ortho")(6), build("rnn")(6)
    assert count_parameters(ortho) - degrees_of_freedom(ortho) == 36 - 15
    assert count_parameters(rnn) == degrees_of_freedom(rnn)


def test_forget_gates_start_at_the_given_bias():
    core = models.lstm(3, 2, 4, forget_bias=2.0).core
    total = core.bias_ih_l0 + core.bias_hh_l0
    torch.testing.assert_close(total[4:8], torch.full((4,), 2.0))
    assert (total[:4].abs() < 1.1).all()


@every
def test_every_model_has_the_same_readout(name):
    model = build(name)(400)
    assert model.readout.bias.abs().max() == 0
    assert model.readout.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.1)
