"""LRU and minGRU beside loops over time."""

import pytest
import torch
from torch.nn import functional

from benchmarks import models
from benchmarks.models.linear_scan import linear_scan


def loop(a, b, h):
    states = []
    for a_t, b_t in zip(a, b, strict=True):
        h = a_t * h + b_t
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 100])
def test_a_scan_is_the_loop(length, dtype):
    a, b = torch.randn(2, length, 3, 4, dtype=dtype)
    a, h = a / a.abs().clamp(min=1), torch.randn(3, 4, dtype=dtype)
    torch.testing.assert_close(linear_scan(a, b, h), loop(a, b, h))


def test_a_scan_has_the_gradients_of_the_loop():
    def gradients(run):
        torch.manual_seed(0)
        tensors = torch.rand(21, 2, 3, dtype=torch.float64).split([10, 10, 1])
        leaves = [t.clone().requires_grad_() for t in tensors]
        states = run(leaves[0], leaves[1], leaves[2][0])
        return torch.autograd.grad(states.sin().sum(), leaves)

    torch.testing.assert_close(gradients(linear_scan), gradients(loop))


def slow_mingru(core, x, h):
    states = []
    for x_t in x:
        gate, candidate = core.gate_and_candidate(x_t).chunk(2, -1)
        z = torch.sigmoid(gate)
        h = (1 - z) * h + z * candidate
        states.append(h)
    return torch.stack(states)


def slow_lru(core, x, h):
    """The equations of the docstring, one step at a time, in complex numbers."""
    u = core.norm(core.encoder(x))
    rate = torch.polar((-core.log_decay.exp()).exp(), core.log_phase.exp())
    w_in, w_out = (torch.complex(*w) for w in (core.weight_in, core.weight_out))
    outputs = []
    for u_t in u:
        h = rate * h + core.log_gain.exp() * (u_t.to(w_in.dtype) @ w_in.mT)
        outputs.append((h @ w_out.mT).real + core.skip * u_t)
    y = functional.gelu(torch.stack(outputs))
    return core.encoder(x) + functional.glu(core.gate(y), -1)


@pytest.mark.parametrize("input_size", [5, 6])
def test_lru_is_its_equations(input_size):
    core = models.lru(input_size, 6).double()
    x = torch.randn(20, 3, input_size, dtype=torch.float64)
    start = torch.zeros(3, 6, dtype=torch.complex128)
    torch.testing.assert_close(core(x)[0], slow_lru(core, x, start))


def test_mingru_is_its_equations():
    core = models.mingru(5, 6).double()
    x = torch.randn(20, 3, 5, dtype=torch.float64)
    expected = slow_mingru(core, x, torch.zeros(3, 6, dtype=torch.float64))
    torch.testing.assert_close(core(x)[0], expected)


@pytest.mark.parametrize("name", ["lru", "mingru"])
def test_two_halves_with_the_state_carried_are_the_whole(name):
    core = getattr(models, name)(5, 6).double()
    x = torch.randn(17, 3, 5, dtype=torch.float64)
    whole, end = core(x)
    first, state = core(x[:9])
    second, last = core(x[9:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, end)


def test_eigenvalues_start_on_their_ring():
    core = models.lru(4, 2000, least_modulus=0.6, greatest_modulus=0.9, max_phase=0.5)
    modulus, phase = (-core.log_decay.exp()).exp(), core.log_phase.exp()
    assert 0.6 <= modulus.min() < 0.61
    assert 0.89 < modulus.max() <= 0.9
    assert 0.49 < phase.max() <= 0.5
    assert modulus.square().mean().item() == pytest.approx((0.36 + 0.81) / 2, rel=0.02)
    torch.testing.assert_close(core.log_gain.exp().square() + modulus.square(), torch.ones(2000))


@pytest.mark.parametrize("name", ["lru", "mingru", "switched_free", "switched_normalized"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"num_layers": 2}, "num_layers must be 1"), ({"bidirectional": True}, "must be false")],
)
def test_more_layers_and_directions_are_refused(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        getattr(models, name)(5, 6, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"least_modulus": -0.1}, {"greatest_modulus": 1.1}, {"max_phase": 0}, {"least_modulus": 1.5}],
)
def test_a_ring_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        models.lru(5, 6, **wrong)
