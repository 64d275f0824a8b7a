"""What stands between torch's tensors and compiled code: nothing unexpected gets through."""

import functools

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

from orthornn import OrthoRNN, backends
from orthornn.recurrence import ELMAN
from orthornn.recurrence.cpu.compiler import CannotCompile
from orthornn.recurrence.elman import compiled, eager
from orthornn.recurrence.elman.inputs import Inputs, Kind, Needed
from orthornn.recurrence.elman.kernel import AMX, VECTOR, load_kernel

pytestmark = pytest.mark.skipif(backends()["c"] is not None, reason=str(backends()["c"]))
LARGEST = torch.finfo(torch.float32).max


def results(rnn, x, *, backend, h0=None, grad=None):
    rnn.backend = backend
    y, h = rnn(x, h0)
    y = y.data if isinstance(y, PackedSequence) else y
    return y, h, *torch.autograd.grad(y, list(rnn.parameters()), grad)


def agree(rnn, x, **given):
    given = {"grad": torch.ones(rnn(x)[0].data.shape), **given}
    found, expected = (results(rnn, x, backend=b, **given) for b in ("c", "eager"))
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_batch_sizes_of_another_integer_type_are_read_right():
    sizes = torch.tensor([300] + [1] * 9, dtype=torch.int32)
    agree(OrthoRNN(2, 16, nonlinearity="tanh"), PackedSequence(torch.randn(309, 2), sizes))


@pytest.mark.parametrize("which", ["input", "state", "gradient"])
@pytest.mark.parametrize("nonlinearity", ["relu", "identity"])
def test_a_view_with_the_other_sign_keeps_its_sign(which, nonlinearity):
    rnn = OrthoRNN(1, 8, nonlinearity=nonlinearity, dtype=torch.float64)

    def plain(*shape):
        return torch.randn(*shape, dtype=torch.float64)

    def negated(*shape):
        return torch.randn(*shape, dtype=torch.complex128).conj().imag

    assert negated(3).is_neg()
    x = negated(600, 1, 1) if which == "input" else plain(600, 1, 1)
    h0 = negated(1, 1, 8) if which == "state" else None
    grad = negated(600, 1, 8) if which == "gradient" else plain(600, 1, 8)
    found, expected = (
        results(rnn, x, backend=backend, h0=h0, grad=grad) for backend in (None, "autograd")
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "modrelu"])
@pytest.mark.parametrize("value", [LARGEST, -LARGEST, float("inf"), float("nan")])
@pytest.mark.parametrize("step", [0, -1])
def test_gradients_are_those_of_torch_beside_what_is_not_finite(nonlinearity, value, step):
    rnn, x = OrthoRNN(2, 64, nonlinearity=nonlinearity), torch.randn(10, 20, 2)
    x[step, 0, 0] = value
    w_ih, w_hh = (p.detach() for p in list(rnn.parameters())[:2])
    b = -torch.rand(64) / 9 if nonlinearity == "modrelu" else None
    inputs, kind = Inputs(x, torch.zeros(20, 64), w_hh, w_ih, None, b), Kind(nonlinearity)
    states = eager.forward(inputs, kind)
    needed = Needed(*(a is not None for a in inputs))
    arguments = (torch.ones_like(states), inputs, states, kind, needed)
    for a, b in zip(compiled.backward(*arguments), eager.backward(*arguments), strict=True):
        if a is not None:
            torch.testing.assert_close(a, b, equal_nan=True, rtol=1e-4, atol=1e-4)


def test_an_empty_batch_is_nothing_to_do():
    for nonlinearity in ("relu", "identity"):
        for backend in ("c", "eager", None):
            rnn = OrthoRNN(3, 8, nonlinearity=nonlinearity, backend=backend)
            y, h = rnn(torch.empty(100, 0, 3))
            assert y.shape == (100, 0, 8)
            assert h.shape == (1, 0, 8)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_tracer_and_a_transform_are_refused_by_name():
    rnn, x = OrthoRNN(3, 8, backend="c"), torch.randn(20, 4, 3)
    message = "backend 'c' cannot run this: a mode, a transform or a tracer"
    with pytest.raises(ValueError, match=message):
        torch.vmap(lambda x: rnn(x)[0])(x.unsqueeze(0))
    with pytest.warns(DeprecationWarning, match="jit"), pytest.raises(ValueError, match=message):
        torch.jit.trace(rnn, x, check_trace=False)


def test_float64_that_cannot_be_compiled_runs_in_torch(monkeypatch):
    def load(dtype, product=None):
        if dtype == torch.float64:
            raise CannotCompile("no room")
        return load_kernel(dtype, product)

    monkeypatch.setattr(compiled, "load_kernel", load)
    monkeypatch.setattr(ELMAN, "unavailable", functools.cache(ELMAN.unavailable.__wrapped__))
    x = torch.randn(30, 4, 3)
    assert OrthoRNN(3, 8).backend_for(x) == "c"
    assert OrthoRNN(3, 8).double().backend_for(x.double()) == "eager"
    with pytest.raises(ValueError, match=r"'c' cannot run this: its self-test failed: .*no room"):
        OrthoRNN(3, 8, backend="c").double()(x.double())


def test_every_product_that_may_run_is_tested(monkeypatch):
    used = []

    def choose(h0):
        used.append(choose_kernel(h0))
        return used[-1]

    choose_kernel = compiled.choose_kernel
    monkeypatch.setattr(compiled, "choose_kernel", choose)
    assert ELMAN.unavailable.__wrapped__("c") is None
    assert set(used) == {load_kernel(torch.float32), load_kernel(torch.float32, VECTOR)}
    assert load_kernel(torch.float32).product in (AMX, VECTOR)
