"""Autograd in all its modes, and torch.func, on OrthoRNN: numbers equal to a plain loop's."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    vmap,
)
from torch.utils.checkpoint import checkpoint

from orthornn import OrthoRNN, OrthoRNNCell
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from tests.peers import every_layer, packed, pair

every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))


def build(nonlinearity="modrelu", **options):
    return OrthoRNN(3, 4, 2, nonlinearity, bidirectional=True, dtype=torch.float64, **options)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def of_everything(module, *inputs):
    """A function of the inputs and of every parameter, and leaves to call it with."""
    names = list(dict(module.named_parameters()))
    values = [p.detach().clone() for p in module.parameters()]

    def function(*given):
        weights = dict(zip(names, given[len(inputs) :], strict=True))
        found = functional_call(module, weights, given[: len(inputs)])
        return found if isinstance(found, tuple) else (found,)

    return function, [a.clone().requires_grad_() for a in (*inputs, *values)]


@pytest.mark.sampled(5)
@every_nonlinearity
def test_first_and_second_derivatives_by_finite_differences(nonlinearity):
    for module, *inputs in (
        (build(nonlinearity), draw(3, 2, 3), draw(4, 2, 4)),
        (OrthoRNNCell(3, 4, nonlinearity=nonlinearity).double(), draw(2, 3), draw(2, 4)),
    ):
        function, leaves = of_everything(module, *inputs)
        assert torch.autograd.gradcheck(function, leaves, check_batched_grad=True, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)
        assert torch.autograd.gradcheck(function, leaves, check_forward_ad=True, fast_mode=True)


@pytest.mark.sampled(5)
@every_nonlinearity
def test_derivatives_of_packed_input(nonlinearity):
    module, x = build(nonlinearity), packed([2, 4, 1])

    def function(data):
        output, h_n = module(x._replace(data=data))
        return output.data, h_n

    assert torch.autograd.gradcheck(function, x.data)
    assert torch.autograd.gradgradcheck(function, x.data)


@every_nonlinearity
def test_vmap_over_inputs(nonlinearity):
    rnn, x = build(nonlinearity), draw(5, 4, 2, 3)
    expected = [torch.stack(a) for a in zip(*(rnn(one) for one in x), strict=True)]
    torch.testing.assert_close(vmap(rnn)(x), tuple(expected))
    cell = OrthoRNNCell(3, 4, nonlinearity=nonlinearity).double()
    torch.testing.assert_close(vmap(cell)(x[0]), torch.stack([cell(one) for one in x[0]]))


@every_nonlinearity
def test_gradients_of_every_sample_at_once(nonlinearity):
    rnn, x = build(nonlinearity), draw(5, 4, 3)
    weights = {k: p.detach() for k, p in rnn.named_parameters()}

    def loss(w, one):
        return functional_call(rnn, w, (one,))[0].sin().sum()

    found = vmap(grad(loss), (None, 0))(weights, x)
    for i, one in enumerate(x):
        expected = torch.autograd.grad(rnn(one)[0].sin().sum(), list(rnn.parameters()))
        torch.testing.assert_close([g[i] for g in found.values()], list(expected))


@every_layer
def test_forward_mode_equals_reverse_mode(make):
    module = make(3, 4, num_layers=2).double()
    x, u = draw(4, 2, 3), draw(4, 2, 3)
    _, tangent = jvp(lambda a: module(a)[0], (x,), (u,))
    expected = torch.einsum("tbhsci,sci->tbh", jacrev(lambda a: module(a)[0])(x), u)
    torch.testing.assert_close(tangent, expected)
    torch.testing.assert_close(jacfwd(lambda a: module(a)[0])(x), jacrev(lambda a: module(a)[0])(x))
    with forward_ad.dual_level():
        dual = module(forward_ad.make_dual(x, u))[0]
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, expected)


@every_layer
def test_hessian_and_vectorized_jacobian(make):
    module, x = make(3, 4).double(), draw(3, 1, 3)

    def loss(a):
        return module(a)[0].pow(3).sum()

    torch.testing.assert_close(hessian(loss)(x), torch.autograd.functional.hessian(loss, x))
    torch.testing.assert_close(
        torch.autograd.functional.jacobian(lambda a: module(a)[0], x, vectorize=True),
        torch.autograd.functional.jacobian(lambda a: module(a)[0], x),
    )
    x.requires_grad_()
    output = module(x)[0]
    v = draw(5, *output.shape)
    (together,) = vmap(lambda one: torch.autograd.grad(output, x, one, retain_graph=True))(v)
    apart = [torch.autograd.grad(output, x, one, retain_graph=True)[0] for one in v]
    torch.testing.assert_close(together, torch.stack(apart))


@every_layer
@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing(make, reentrant):
    module = make(3, 4, num_layers=2).double()
    x = draw(6, 2, 3).requires_grad_()
    inputs = [x, *module.parameters()]
    module(x)[0].sin().sum().backward()
    expected = [a.grad.clone() for a in inputs]
    for a in inputs:
        a.grad = None
    checkpoint(lambda a: module(a)[0], x, use_reentrant=reentrant).sin().sum().backward()
    torch.testing.assert_close([a.grad for a in inputs], expected)


@every_layer
def test_graphs_are_kept_freed_or_never_made(make):
    module, x = make(3, 4), torch.randn(5, 2, 3)
    with torch.no_grad():
        assert not module(x)[0].requires_grad
    with torch.inference_mode():
        assert module(x)[0].is_inference()
    loss = module(x)[0].square().sum()
    first = torch.autograd.grad(loss, module.weight_hh_l0, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, module.weight_hh_l0), first)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    module.requires_grad_(False)
    assert not module(x)[0].requires_grad
    module.weight_hh_l0.requires_grad_(True)
    module(x)[1].sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is not None] == ["weight_hh_l0"]


@pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
@pytest.mark.parametrize("where", ["input", "h0", "weight"])
@pytest.mark.filterwarnings("ignore::orthornn.OffManifoldWarning")
def test_nan_in_is_nan_out(nonlinearity, where):
    rnn = OrthoRNN(3, 4, nonlinearity=nonlinearity)
    x, h0 = torch.randn(5, 2, 3), torch.randn(1, 2, 4)
    with torch.no_grad():
        {"input": x[0, 0], "h0": h0[0, 0], "weight": rnn.weight_hh_l0}[where].fill_(torch.nan)
    output, h_n = rnn(x, h0)
    assert output[:, 0].isnan().all()
    assert h_n[0, 0].isnan().all()
    assert where == "weight" or not output[:, 1].isnan().any()


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_spreads_as_in_torch(nonlinearity, bad):
    x, found = draw(5, 2, 3), []
    ours, theirs = pair(nonlinearity)
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        g = torch.ones(5, 2, 5, dtype=torch.float64)
        g[3, 1, 2] = bad
        module(leaf)[0].backward(g)
        found.append(leaf.grad)
    torch.testing.assert_close(*found, equal_nan=True)


@every_layer
def test_one_module_in_two_places_gets_both_gradients(make):
    module = make(3, 3)
    chain = nn.ModuleList([module, module])
    x = torch.randn(4, 2, 3)
    chain[1](chain[0](x)[0])[0].sum().backward()
    both = module.weight_hh_l0.grad.clone()
    module.zero_grad()
    middle = module(x)[0].detach().requires_grad_()
    module(middle)[0].sum().backward()
    module(x)[0].backward(middle.grad)
    torch.testing.assert_close(module.weight_hh_l0.grad, both)
