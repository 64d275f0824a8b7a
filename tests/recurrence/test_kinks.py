"""Derivatives where a nonlinearity has none: defined, the same in every form, never NaN."""

import math

import pytest
import torch

from orthornn import OrthoRNN, OrthoRNNCell
from orthornn.recurrence import ELMAN
from orthornn.recurrence.elman.inputs import Inputs, Kind
from orthornn.recurrence.elman.nonlinearity import LEAKY_SLOPE, NONLINEARITIES, modrelu
from tests.peers import RUNNING

INF, NAN = math.inf, math.nan
# z, b, then h = s(z), its derivative in z, and in b
MODRELU = [
    (0.0, 1.0, 0.0, 0.0, 0.0),
    (-0.0, 1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, -1.0, 0.0, 0.0, 0.0),
    (1.0, -1.0, 0.0, 0.0, 0.0),
    (-1.0, -1.0, 0.0, 0.0, 0.0),
    (0.5, -1.0, 0.0, 0.0, 0.0),
    (2.0, -1.0, 1.0, 1.0, 1.0),
    (-2.0, -1.0, -1.0, 1.0, -1.0),
    (1e-30, 1.0, 1.0, 1.0, 1.0),
    (-1e-30, 1.0, -1.0, 1.0, -1.0),
    (1e30, 1.0, 1e30, 1.0, 1.0),
    (-1e30, -1.0, -1e30, 1.0, -1.0),
]
OTHERS = {
    "relu": [(0.0, 0.0, 0.0), (-0.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (1e-30, 1e-30, 1.0)],
    "leaky_relu": [
        (0.0, 0.0, LEAKY_SLOPE),
        (-0.0, 0.0, LEAKY_SLOPE),
        (-1.0, -LEAKY_SLOPE, LEAKY_SLOPE),
        (1.0, 1.0, 1.0),
    ],
    "tanh": [(0.0, 0.0, 1.0), (1e30, 1.0, 0.0), (-1e30, -1.0, 0.0)],
    "identity": [(0.0, 0.0, 1.0), (-1e30, -1e30, 1.0)],
}
TABLE = {
    "modrelu": MODRELU,
    **{n: [(z, 0.0, h, d, 0.0) for z, h, d in r] for n, r in OTHERS.items()},
}
every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))


def by_backend(name):
    def step(z, b, nonlinearity):
        n = len(z)
        zero, w = torch.zeros(1, n), torch.eye(n)
        inputs = Inputs(zero.unsqueeze(0), zero, w, w, z, b)
        return ELMAN.run(inputs, Kind(nonlinearity), name)[0, 0]

    return step


def by_module(make):
    def step(z, b, nonlinearity):
        module = make(1, len(z), nonlinearity)
        suffix = "_l0" if isinstance(module, OrthoRNN) else ""
        given = {f"bias_ih{suffix}": z, f"bias_hh{suffix}": torch.zeros_like(z)}
        if b is not None:
            given[f"modrelu_bias{suffix}"] = b
        result = torch.func.functional_call(module, given, (torch.zeros(1, 1),))
        return result[0][0] if isinstance(result, tuple) else result[0]

    return step


WAYS = {
    **{name: by_backend(name) for name in RUNNING},
    "module": by_module(lambda i, h, s: OrthoRNN(i, h, nonlinearity=s)),
    "cell": by_module(lambda i, h, s: OrthoRNNCell(i, h, nonlinearity=s)),
}
every_way = pytest.mark.parametrize("step", WAYS.values(), ids=WAYS)


def values(nonlinearity, rows):
    z, b, *expected = (torch.tensor(column) for column in zip(*rows, strict=True))
    learned = NONLINEARITIES[nonlinearity].has_bias
    return z.requires_grad_(), b.requires_grad_() if learned else None, expected


@every_way
@every_nonlinearity
def test_the_table_of_derivatives_holds(step, nonlinearity):
    z, b, (h, dz, db) = values(nonlinearity, TABLE[nonlinearity])
    found = step(z, b, nonlinearity)
    torch.testing.assert_close(found, h)
    found.sum().backward()
    assert torch.equal(z.grad, dz)
    assert b is None or torch.equal(b.grad, db)


def test_the_table_of_derivatives_holds_compiled():
    z, b, (h, dz, db) = values("modrelu", MODRELU)
    found = torch.compile(modrelu, backend="eager", fullgraph=True)(z, b)
    torch.testing.assert_close(found, h)
    found.sum().backward()
    torch.compiler.reset()
    assert torch.equal(z.grad, dz)
    assert torch.equal(b.grad, db)


@pytest.mark.parametrize("backend", RUNNING)
def test_second_derivatives_at_the_kinks_are_zero(backend):
    z, b, _ = values("modrelu", MODRELU)
    found = WAYS[backend](z, b, "modrelu").square().sum()
    first = torch.autograd.grad(found, (z, b), create_graph=True)
    assert all(bool(g.isfinite().all()) for g in first)
    second = torch.autograd.grad(sum(g.sum() for g in first), (z, b))
    off = torch.tensor([row[3] == 0 for row in MODRELU])
    assert not any(bool(g[off].any()) for g in second)


@every_way
@every_nonlinearity
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_what_is_not_finite_comes_out(step, nonlinearity, bad):
    z, b, _ = values(nonlinearity, [(bad, -0.5, 0, 0, 0), (1.0, -0.5, 0, 0, 0)])
    h = step(z, b, nonlinearity)
    assert h[1].isfinite()
    if math.isnan(bad):
        assert h[0].isnan()
    elif nonlinearity in ("modrelu", "identity", "leaky_relu"):
        assert h[0] == bad
    else:
        assert h[0] == {"tanh": math.copysign(1, bad), "relu": max(bad, 0)}[nonlinearity]


@pytest.mark.parametrize("backend", RUNNING)
@every_nonlinearity
def test_nan_in_one_step_reaches_every_later_state_and_the_weights(backend, nonlinearity):
    rnn = OrthoRNN(3, 5, nonlinearity=nonlinearity, init="haar", backend=backend)
    x = torch.randn(6, 2, 3)
    x[2, 0, 1] = NAN
    h, _ = rnn(x)
    assert h[:2].isfinite().all()
    assert h[2:, 0].isnan().all()
    assert h[:, 1].isfinite().all()
    h.sum().backward()
    assert rnn.weight_hh_l0.grad.isnan().any()
    assert rnn.weight_ih_l0.grad.isnan().any()


def test_the_sign_is_taken_without_a_division():
    """z / sqrt(z z) has the derivative NaN at 0 and where the square vanishes or overflows."""
    z = torch.tensor([0.0, 1e-30, 1e30], requires_grad=True)
    quotient = z / (z * z).sqrt() * torch.relu(z.abs() + 1)
    (g,) = torch.autograd.grad(quotient.sum(), z)
    assert g[:2].isnan().all()
    assert g[2] == 0  # 1e30 divided by an infinite root
    (g,) = torch.autograd.grad(modrelu(z, torch.tensor(1.0)).sum(), z)
    assert g.tolist() == [0.0, 1.0, 1.0]
