"""Derivatives and the transforms of torch.func, of every module in the table."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

from tests.nn.cases import every_module, every_network, every_real_network, every_transition


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def together(results):
    """Outputs and last states of many calls, each stacked."""
    return tuple(map(torch.stack, zip(*results, strict=True)))


@every_network
def test_vmap_over_inputs_and_states(make):
    module = make(3, 5, dtype=torch.float64)
    x = torch.stack([make.draw(4, 2, dtype=torch.float64) for _ in range(5)])
    h = draw(5, 1, 2, 5)
    pairs = list(zip(x, h, strict=True))
    torch.testing.assert_close(vmap(module)(x), together(module(a) for a in x))
    torch.testing.assert_close(vmap(module)(x, h), together(module(a, b) for a, b in pairs))
    torch.testing.assert_close(
        vmap(module, (None, 0))(x[0], h), together(module(x[0], b) for b in h)
    )


@every_module
def test_vmap_over_an_ensemble(make):
    models = [make(3, 5, dtype=torch.float64) for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    x = make.draw(*([2] if make.is_cell else [4, 2]), dtype=torch.float64)

    def call(p, b):
        return functional_call(models[0], (p, b), (x,))

    expected = [m(x) for m in models]
    torch.testing.assert_close(
        vmap(call)(parameters, buffers),
        torch.stack(expected) if make.is_cell else together(expected),
    )


def without_gates(make):
    """A module of this kind whose derivatives are all true ones."""
    module = make(3, 4, dtype=torch.float64)
    if getattr(module, "gate", None) is not None:
        module.gate.requires_grad_(False)
    return module


@every_transition
def test_derivatives_of_a_transition_by_finite_differences(make):
    module, x = without_gates(make), make.draw(3, 2, dtype=torch.float64)
    names = [name for name, p in module.named_parameters() if p.requires_grad]

    def function(h, *values):
        return functional_call(module, dict(zip(names, values, strict=True)), (x, h))

    leaves = [draw(1, 2, 4), *(module.get_parameter(name).detach() for name in names)]
    leaves = [a.clone().requires_grad_() for a in leaves]
    assert torch.autograd.gradcheck(function, leaves, check_batched_grad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)
    assert torch.autograd.gradcheck(function, leaves, check_forward_ad=True, fast_mode=True)


@every_transition
def test_forward_mode_equals_reverse_mode_in_every_parameter(make):
    module, x = make(3, 5, dtype=torch.float64), make.draw(4, 2, dtype=torch.float64)
    weights = {name: p.detach() for name, p in module.named_parameters()}
    tangents = {name: torch.randn_like(p) for name, p in weights.items()}

    def loss(weights):
        return functional_call(module, weights, (x,))[0].sin().sum()

    _, slope = jvp(loss, (weights,), (tangents,))
    gradients = grad(loss)(weights)
    torch.testing.assert_close(slope, sum((g * tangents[k]).sum() for k, g in gradients.items()))


@every_transition
def test_hessian_in_the_state(make):
    module, x = make(3, 4, dtype=torch.float64), make.draw(3, 1, dtype=torch.float64)

    def loss(h):
        return module(x, h)[0].pow(3).sum()

    h = draw(1, 1, 4)
    torch.testing.assert_close(hessian(loss)(h), torch.autograd.functional.hessian(loss, h))


@every_network
def test_gradients_of_every_sample_of_a_network_at_once(make):
    module = make(3, 5, dtype=torch.float64)
    x = torch.stack([make.draw(4, dtype=torch.float64) for _ in range(5)])
    weights = {k: p.detach() for k, p in module.named_parameters()}

    def loss(w, one):
        return functional_call(module, w, (one,))[0].sin().sum()

    gradients = vmap(grad(loss), (None, 0))(weights, x)
    for i, one in enumerate(x):
        expected = torch.autograd.grad(module(one)[0].sin().sum(), list(module.parameters()))
        torch.testing.assert_close([g[i] for g in gradients.values()], list(expected))


@every_transition
@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_of_a_transition(make, reentrant):
    module, x = make(3, 5, dtype=torch.float64), make.draw(6, 2, dtype=torch.float64)
    h0 = draw(1, 2, 5).requires_grad_()
    inputs = [h0, *module.parameters()]
    results = []
    for run in (module, lambda x, h: checkpoint(module, x, h, use_reentrant=reentrant)):
        for a in inputs:
            a.grad = None
        output, h_n = run(x, h0)
        (output.sin().sum() + h_n.cos().sum()).backward()
        results.append([output, h_n, *(a.grad for a in inputs)])
    torch.testing.assert_close(*results)


@every_transition
def test_graphs_of_a_transition_are_kept_freed_or_never_made(make):
    module, x = make(3, 5), make.draw(5, 2)
    with torch.no_grad():
        assert not module(x)[0].requires_grad
    with torch.inference_mode():
        assert module(x)[0].is_inference()
    loss, weights = module(x)[0].square().sum(), list(module.parameters())
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, weights), first)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    module.requires_grad_(False)
    assert not module(x)[0].requires_grad
    name, p = list(module.named_parameters())[-1]
    p.requires_grad_(True)
    module(x)[0].sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is not None] == [name]


@every_transition
@pytest.mark.parametrize("where", ["input", "h0", "weight"])
@pytest.mark.filterwarnings("ignore::orthornn.OffManifoldWarning")
def test_nan_into_a_transition_is_nan_out_of_it(make, where):
    module, x, h0 = make(3, 4), make.draw(5, 2), make.draw_state(2, hidden_size=4)
    if where == "input" and make.takes_tokens:
        pytest.skip("a token is no number")
    weight = module.weight_hh if hasattr(module, "weight_hh") else module.vectors.weight
    module.reset_parameters()  # opens the gates, which may cut a state off
    with torch.no_grad():
        {"input": x[0, 0], "h0": h0[0, 0], "weight": weight}[where].fill_(torch.nan)
    output, h_n = module(x, h0)
    assert output[:, 0].isnan().all()
    assert h_n[0, 0].isnan().all()
    assert where == "weight" or not output[:, 1].isnan().any()


@every_real_network
def test_derivatives_in_real_inputs(make):
    module, x = without_gates(make), draw(3, 2, 3).requires_grad_()
    if getattr(module, "gate", None) is not None:
        nn.init.zeros_(module.gate.weight)  # whose straight-through derivative reaches the input
    assert torch.autograd.gradcheck(module, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(module, x)
