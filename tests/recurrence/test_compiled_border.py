"""What stands between torch's tensors and compiled code: nothing unexpected gets through."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

from orthornn import OrthoRNN
from orthornn.recurrence import fused
from orthornn.recurrence.cpu import engine
from orthornn.recurrence.cpu.library import AMX, library

pytestmark = pytest.mark.skipif(engine.missing() is not None, reason=str(engine.missing()))
LARGEST = torch.finfo(torch.float32).max


def results(rnn, x, *, backend, h0=None, grad=None):
    rnn.backend = backend
    y, h = rnn(x, h0)
    y = y.data if isinstance(y, PackedSequence) else y
    return y, h, *torch.autograd.grad(y, list(rnn.parameters()), grad)


def agree(rnn, x, **given):
    given = {"grad": torch.ones(rnn(x)[0].data.shape), **given}
    found, expected = (results(rnn, x, backend=b, **given) for b in ("compiled", "fused"))
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
        results(rnn, x, backend=backend, h0=h0, grad=grad) for backend in (None, "reference")
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "modrelu"])
@pytest.mark.parametrize("value", [LARGEST, -LARGEST, float("inf"), float("nan")])
@pytest.mark.parametrize("step", [0, -1])
def test_gradients_are_those_of_torch_beside_what_is_not_finite(nonlinearity, value, step):
    rnn, x = OrthoRNN(2, 64, nonlinearity=nonlinearity), torch.randn(10, 20, 2)
    x[step, 0, 0] = value
    inputs = (x, torch.zeros(20, 64), *(p.detach() for p in list(rnn.parameters())[1::-1]))
    threshold = -torch.rand(64) / 9 if nonlinearity == "modrelu" else None
    inputs = (*inputs, None, threshold)
    states = fused.run_forward(*inputs, nonlinearity)
    needed = [True] * 4 + [False, threshold is not None]
    given = (torch.ones_like(states), inputs, states, nonlinearity, None, needed)
    found, expected = engine.run_backward(*given), fused.run_backward(*given)
    for a, b in zip(found, expected, strict=True):
        if a is not None:
            torch.testing.assert_close(a, b, equal_nan=True, rtol=1e-4, atol=1e-4)


def test_an_empty_batch_is_nothing_to_do():
    for nonlinearity in ("relu", "identity"):
        for backend in ("compiled", "fused", None):
            rnn = OrthoRNN(3, 8, nonlinearity=nonlinearity, backend=backend)
            y, h = rnn(torch.empty(100, 0, 3))
            assert y.shape == (100, 0, 8)
            assert h.shape == (1, 0, 8)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_tracer_and_a_transform_are_refused_by_name():
    rnn, x = OrthoRNN(3, 8, backend="compiled"), torch.randn(20, 4, 3)
    message = "backend 'compiled' cannot run this: a mode, a transform or a tracer"
    with pytest.raises(ValueError, match=message):
        torch.vmap(lambda x: rnn(x)[0])(x.unsqueeze(0))
    with pytest.warns(DeprecationWarning, match="jit"), pytest.raises(ValueError, match=message):
        torch.jit.trace(rnn, x, check_trace=False)


def test_float64_that_cannot_be_compiled_runs_in_torch(monkeypatch):
    real = engine.missing
    monkeypatch.setattr(
        engine,
        "missing",
        lambda dtype=torch.float32: real(dtype) or ("no room" if dtype == torch.float64 else None),
    )
    x = torch.randn(30, 4, 3)
    assert OrthoRNN(3, 8).backend_for(x) == "compiled"
    assert OrthoRNN(3, 8).double().backend_for(x.double()) == "fused"
    with pytest.raises(ValueError, match="'compiled' cannot run this: no room"):
        OrthoRNN(3, 8, backend="compiled").double()(x.double())


def test_every_product_that_may_run_has_been_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(engine, "trial", lambda forward, *_: tried.append(forward.keywords["code"]))
    engine.missing.__wrapped__()
    assert set(tried) == {library(torch.float32), library(torch.float32, engine.VECTOR)}
    assert library(torch.float32).product in (AMX, engine.VECTOR)
