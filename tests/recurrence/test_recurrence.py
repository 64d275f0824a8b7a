"""Every backend against the reference, dense and packed."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, backends
from orthornn.recurrence import ELMAN
from orthornn.recurrence.backend import unsupported_nonlinearity
from orthornn.recurrence.elman import eager
from orthornn.recurrence.elman.inputs import Inputs, Kind, Needed
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES, Nonlinearity
from orthornn.recurrence.elman.triton import engine as triton
from orthornn.recurrence.recurrence import FORMER_NAMES
from tests.peers import RUNNING

every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
SHAPES = [(1, 1, 1, 1), (7, 3, 2, 5), (30, 1, 4, 3), (9, 4, 3, 1)]  # T, B, I, H


def problem(shape, nonlinearity, bias=True, dtype=torch.float64):
    T, B, I, H = shape

    def draw(*size, scale=1.0):
        return (scale * torch.randn(*size, dtype=dtype)).requires_grad_()

    w_hh = torch.linalg.qr(torch.randn(H, H, dtype=dtype))[0].requires_grad_()
    b = draw(H, scale=0.1) if NONLINEARITIES[nonlinearity].has_bias else None
    return Inputs(draw(T, B, I), draw(B, H), w_hh, draw(H, I), draw(H) if bias else None, b)


def gradients(backend, inputs, nonlinearity, g, batch_sizes=None):
    h = ELMAN.run(inputs, Kind(nonlinearity, batch_sizes), backend)
    return h, torch.autograd.grad(h, [a for a in inputs if a is not None], g)


def detached(inputs):
    return Inputs(*(None if a is None else a.detach() for a in inputs))


@pytest.mark.each_value_once
@every_nonlinearity
@pytest.mark.parametrize("backend", RUNNING)
def test_first_and_second_derivatives_are_right(backend, nonlinearity):
    inputs = problem((4, 2, 2, 3), nonlinearity)
    names = [name for name, a in inputs._asdict().items() if a is not None]

    def function(*tensors):
        full = inputs._replace(**dict(zip(names, tensors, strict=True)))
        return ELMAN.run(full, Kind(nonlinearity), backend)

    tensors = [getattr(inputs, name) for name in names]
    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


@every_nonlinearity
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backend", [name for name in RUNNING if name != "autograd"])
def test_every_backend_equals_the_reference(backend, nonlinearity, shape, bias):
    inputs = problem(shape, nonlinearity, bias)
    g = torch.randn(*shape[:2], shape[3], dtype=torch.float64)
    torch.testing.assert_close(
        gradients(backend, inputs, nonlinearity, g),
        gradients("autograd", inputs, nonlinearity, g),
    )


BATCH_SIZES = [[3], [3, 1], [2, 2, 2, 1], [4, 3, 2, 1, 1], [5] * 20 + [4] * 9 + [1] * 13]


@every_nonlinearity
@pytest.mark.parametrize("sizes", BATCH_SIZES, ids=lambda sizes: str(len(sizes)))
@pytest.mark.parametrize("backend", [name for name in RUNNING if name != "autograd"])
def test_every_backend_equals_the_reference_on_packed_rows(backend, nonlinearity, sizes):
    inputs = problem((1, sum(sizes), 2, 3), nonlinearity)
    x = inputs.x[0].detach().requires_grad_()
    h0 = torch.randn(sizes[0], 3, dtype=torch.float64, requires_grad=True)
    inputs = inputs._replace(x=x, h0=h0)
    g = torch.randn(sum(sizes), 3, dtype=torch.float64)
    torch.testing.assert_close(
        gradients(backend, inputs, nonlinearity, g, torch.tensor(sizes)),
        gradients("autograd", inputs, nonlinearity, g, torch.tensor(sizes)),
    )


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 23])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_of_time_do_not_show(length, packed, monkeypatch):
    monkeypatch.setattr(eager, "BLOCK_BYTES", 1)  # blocks of the least length, 8 steps
    inputs = problem((length, 2, 3, 4), "modrelu")
    sizes = torch.full((length,), 2) if packed else None
    if packed:
        inputs = inputs._replace(x=inputs.x.detach().flatten(0, 1).requires_grad_())
    g = torch.randn(*inputs.x.shape[:-1], 4, dtype=torch.float64)
    torch.testing.assert_close(
        gradients("eager", inputs, "modrelu", g, sizes),
        gradients("autograd", inputs, "modrelu", g, sizes),
    )


def test_the_operator_asks_only_for_the_gradients_that_are_wanted(monkeypatch):
    asked = []

    def record(*arguments):
        asked.append(arguments[-1])
        return eager.backward(*arguments)

    recording = SimpleNamespace(**vars(eager) | {"backward": record})
    inputs = detached(problem((4, 2, 2, 3), "modrelu"))
    name = ELMAN.fastest(inputs, Kind("modrelu"))
    monkeypatch.setitem(ELMAN.backends, name, recording)
    inputs.w_hh.requires_grad_()
    ELMAN.run(inputs, Kind("modrelu"), "custom_op").sum().backward()
    assert asked == [Needed(w_hh=True)]


def test_the_operator_is_well_formed():
    inputs = problem((4, 2, 2, 3), "modrelu")
    torch.library.opcheck(torch.ops.orthornn.recurrence.default, (*inputs, "modrelu", None))


def test_eager_in_float32_stays_near_the_float64_reference():
    shape = (400, 8, 3, 32)
    exact = problem(shape, "modrelu")
    rough = Inputs(*(a.detach().float().requires_grad_() for a in exact))
    g = torch.randn(400, 8, 32, dtype=torch.float64)
    h, found = gradients("eager", rough, "modrelu", g.float())
    h_exact, expected = gradients("autograd", exact, "modrelu", g)
    eps = torch.finfo(torch.float32).eps
    assert (h - h_exact).norm() < 400 * eps * h_exact.norm()
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() < 1e-2 * b.norm()  # a sign may flip at modReLU's threshold


@pytest.mark.parametrize("name", [name for name in RUNNING if name in ELMAN.backends])
@pytest.mark.parametrize("frozen", Inputs._fields)
def test_a_gradient_that_is_not_wanted_is_not_made(frozen, name):
    inputs, kind, backend = (
        detached(problem((5, 2, 3, 4), "modrelu")),
        Kind("modrelu"),
        ELMAN.backends[name],
    )
    states, g = backend.forward(inputs, kind), torch.randn(5, 2, 4, dtype=torch.float64)
    everything = backend.backward(g, inputs, states, kind, Needed(*[True] * 6))
    needed = Needed(*[True] * 6)._replace(**{frozen: False})
    gradients = backend.backward(g, inputs, states, kind, needed)
    assert getattr(gradients, frozen) is None
    expected = [a for name, a in everything._asdict().items() if name != frozen]
    torch.testing.assert_close([a for a in gradients if a is not None], expected)
    adjoint = torch.ops.orthornn.recurrence_backward
    made = adjoint(g, states, list(needed), *inputs, "modrelu", None)
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("backend", RUNNING)
def test_linear_orthogonal_recurrence_keeps_the_gradient_norm_over_ten_thousand_steps(backend):
    inputs = problem((10_000, 1, 1, 16), "identity", bias=False)
    h = ELMAN.run(inputs._replace(x=0 * inputs.x), Kind("identity"), backend)
    g = torch.randn(1, 16, dtype=torch.float64)
    (dh0,) = torch.autograd.grad(h[-1], inputs.h0, g)
    assert dh0.norm() / g.norm() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("backend", [name for name in RUNNING if name != "autograd"])
def test_writing_into_the_output_before_backward_is_an_error(backend):
    inputs = problem((5, 2, 3, 4), "modrelu")
    h = ELMAN.run(inputs, Kind("modrelu"), backend)
    loss = h.sum()
    with torch.no_grad():
        h.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_second_derivatives_hold_for_inputs_that_depend_on_each_other():
    x, _, w, _, _, b = problem((4, 3, 3, 3), "modrelu", bias=False)
    for arguments in ((x, x[0] @ w, w, w.T, None, b), (x, x[0], w, w, None, b)):
        found = [
            torch.autograd.grad(
                ELMAN.run(Inputs(*arguments), Kind("modrelu"), backend).sin().sum(),
                (x, w),
                create_graph=create,
                retain_graph=True,
            )
            for backend in RUNNING
            for create in (True, False)
        ]
        for other in found[1:]:
            torch.testing.assert_close(found[0], other)


def test_unknown_backend_is_refused_with_the_choices():
    inputs = problem((4, 2, 2, 3), "modrelu")
    with pytest.raises(ValueError, match=r"one of \['autograd', 'c', .*\], got 'cuda'$"):
        ELMAN.run(inputs, Kind("modrelu"), "cuda")
    with pytest.raises(ValueError, match=r"one of \['autograd', 'c', .*\], got 'cuda'$"):
        OrthoRNN(2, 3, backend="cuda")


@pytest.mark.parametrize("former", ["compiled", "fused", "operator", "reference"])
def test_a_former_name_of_a_backend_is_refused_with_the_new_one(former):
    message = f"got '{former}', which is now called '{FORMER_NAMES[former]}'$"
    with pytest.raises(ValueError, match=message):
        OrthoRNN(2, 3, backend=former)
    OrthoRNN(2, 3, backend=FORMER_NAMES[former])


def test_the_choice_follows_who_looks_inside():
    inputs, kind = problem((4, 2, 2, 3), "modrelu"), Kind("modrelu")
    assert ELMAN.choose(None, inputs, kind) == ELMAN.fastest(inputs, kind)
    seen = torch.vmap(lambda a: a + (ELMAN.choose(None, inputs, kind) == "autograd"))(
        torch.zeros(2)
    )
    assert torch.equal(seen, torch.ones(2))
    assert ELMAN.choose("eager", inputs, kind) == "eager"
    assert ELMAN.choose("custom_op", inputs, kind) == "custom_op"


def test_a_layer_names_what_runs_it():
    rnn, long = OrthoRNN(3, 8, batch_first=True), torch.zeros(4, 50, 3)
    expected = "c" if "c" in RUNNING else "eager"
    assert rnn.backend_for(long) == expected
    assert rnn.backend_for(long[0]) == expected
    assert rnn.backend_for(long[:, :1]) == "eager"
    assert rnn.backend_for(pack_sequence([long[0], long[1, :3]])) == expected
    assert rnn.bfloat16().backend_for(long.bfloat16()) == expected
    assert OrthoRNN(3, 8, backend="autograd").backend_for(long) == "autograd"
    linear = OrthoRNN(3, 8, nonlinearity="identity")
    assert linear.backend_for(torch.zeros(10_000, 3)) == "scan"


def test_backends_say_what_they_lack():
    reasons = backends()
    assert sorted(reasons) == sorted([*ELMAN.backends, "autograd", "custom_op"])
    assert reasons["autograd"] is None
    assert all(reason is None or "\n" not in reason for reason in reasons.values())


def test_the_operator_takes_the_backend_that_the_layer_would(monkeypatch):
    chosen = []

    def record(*arguments):
        chosen.append(fastest(*arguments))
        return chosen[-1]

    fastest = ELMAN.fastest
    monkeypatch.setattr(ELMAN, "fastest", record)
    x = torch.randn(40, 4, 3)
    for nonlinearity in ("modrelu", "identity"):
        rnn = OrthoRNN(3, 128, nonlinearity=nonlinearity)
        expected = rnn.backend_for(x)
        chosen.clear()
        rnn.backend = "custom_op"
        with torch.no_grad():
            rnn(x)
        rnn(x)[0].sum().backward()
        assert chosen == [expected] * 3


def test_a_new_nonlinearity_is_one_row_and_runs_in_torch(monkeypatch):
    """Machine code knows its own list, and leaves what is not on it to the table's functions."""
    softsign = Nonlinearity(
        torch.nn.functional.softsign,
        lambda z: z.div_(z.abs() + 1),
        lambda g, h: g.mul_((1 - h.abs()).square()),
    )
    monkeypatch.setitem(NONLINEARITIES, "softsign", softsign)
    rnn, x = OrthoRNN(3, 20, nonlinearity="softsign", dtype=torch.float64), torch.randn(30, 4, 3)
    assert rnn.backend_for(x.double()) == "eager"
    found = []
    for backend in (None, "autograd", "custom_op"):
        rnn.backend = backend
        found.append(torch.autograd.grad(rnn(x.double())[0].sum(), list(rnn.parameters())))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], found[1])
    reason = unsupported_nonlinearity("softsign", triton.NONLINEARITIES)
    assert "nonlinearity must be one of" in reason
    with pytest.raises(ValueError, match=r"'c' cannot run this: .* got 'softsign'"):
        OrthoRNN(3, 20, nonlinearity="softsign", backend="c")
