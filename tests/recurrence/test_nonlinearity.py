import pytest
import torch

from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES, modrelu

every = pytest.mark.parametrize("name", sorted(NONLINEARITIES))


def arguments(name):
    z = torch.randn(50, 7, dtype=torch.float64, requires_grad=True)
    if not NONLINEARITIES[name].has_bias:
        return (z,)
    return z, torch.randn(7, dtype=torch.float64, requires_grad=True)


@every
def test_in_place_form_has_the_same_value(name):
    s, inputs = NONLINEARITIES[name], arguments(name)
    values = tuple(a.detach().clone() for a in inputs)
    result = s.apply_(*values)
    assert result is values[0]
    torch.testing.assert_close(result, s.apply(*inputs).detach(), rtol=0, atol=0)


@every
def test_derivative_in_terms_of_the_output_equals_autograd(name):
    s, (z, *bias) = NONLINEARITIES[name], arguments(name)
    h = s.apply(z, *bias)
    g = torch.randn_like(h)
    expected = torch.autograd.grad(h, z, g)[0]
    torch.testing.assert_close(s.mask_(g.clone(), h.detach()), expected, rtol=1e-12, atol=0)


@every
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_dies_where_autograd_lets_it_die(name, bad):
    s, (z, *bias) = NONLINEARITIES[name], arguments(name)
    h = s.apply(z, *bias)
    g = torch.full_like(h, bad)
    expected = torch.autograd.grad(h, z, g)[0]
    found = s.mask_(g.clone(), h.detach())
    assert torch.equal(found.isfinite(), expected.isfinite())


@every
def test_derivative_under_a_mode_that_watches_every_operation(name):
    s, (z, *bias) = NONLINEARITIES[name], arguments(name)
    h = s.apply(z, *bias).detach()
    g = torch.randn_like(h)
    expected = s.mask_(g.clone(), h)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        found = s.mask_(g, h)
    assert found is g
    torch.testing.assert_close(found, expected)


def test_modrelu_shrinks_towards_zero_and_keeps_the_sign():
    z = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0])
    assert modrelu(z, torch.tensor(-1.0)).tolist() == [-2.0, 0.0, 0.0, 0.0, 2.0]
    assert modrelu(z, torch.tensor(1.0)).tolist() == [-4.0, -1.5, 0.0, 1.5, 4.0]


@pytest.mark.parametrize("z", [0.0, 1.0, -1.0])
def test_modrelu_has_zero_gradient_at_zero_and_at_the_threshold(z):
    z = torch.tensor(z, requires_grad=True)
    b = torch.tensor(-1.0, requires_grad=True)
    modrelu(z, b).backward()
    assert z.grad == 0
    assert b.grad == 0


@every
def test_nan_in_is_nan_out(name):
    s = NONLINEARITIES[name]
    z = torch.tensor([float("nan"), 1.0])
    bias = (torch.tensor(-0.1),) if s.has_bias else ()
    assert s.apply(z, *bias)[0].isnan()
    assert s.apply_(z, *bias)[0].isnan()
