"""Every backend against the reference, dense and packed."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, backends
from orthornn.recurrence import custom_op as operator_module
from orthornn.recurrence import fused as fused_module
from orthornn.recurrence.autograd import by_hand
from orthornn.recurrence.custom_op import recurrence_backward
from orthornn.recurrence.dispatch import BACKENDS, choose
from orthornn.recurrence.engines import ENGINES, fastest
from orthornn.recurrence.nonlinearity import NONLINEARITIES, Nonlinearity
from orthornn.recurrence.reference import reference
from orthornn.recurrence.triton import engine as triton
from tests.peers import RUNNING

every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
SHAPES = [(1, 1, 1, 1), (7, 3, 2, 5), (30, 1, 4, 3), (9, 4, 3, 1)]  # T, B, I, H


def problem(shape, nonlinearity, bias=True, dtype=torch.float64):
    T, B, I, H = shape

    def draw(*size, scale=1.0):
        return (scale * torch.randn(*size, dtype=dtype)).requires_grad_()

    w_hh = torch.linalg.qr(torch.randn(H, H, dtype=dtype))[0].requires_grad_()
    threshold = draw(H, scale=0.1) if NONLINEARITIES[nonlinearity].has_bias else None
    return draw(T, B, I), draw(B, H), w_hh, draw(H, I), draw(H) if bias else None, threshold


def gradients(function, inputs, nonlinearity, g, batch_sizes=None):
    h = function(*inputs, nonlinearity, batch_sizes)
    return h, torch.autograd.grad(h, [a for a in inputs if a is not None], g)


@pytest.mark.each_value_once
@every_nonlinearity
@pytest.mark.parametrize("backend", RUNNING)
def test_first_and_second_derivatives_are_right(backend, nonlinearity):
    inputs = problem((4, 2, 2, 3), nonlinearity)
    given = [a for a in inputs if a is not None]

    def function(*tensors):
        queue = iter(tensors)
        full = [None if a is None else next(queue) for a in inputs]
        return BACKENDS[backend](*full, nonlinearity, None)

    assert torch.autograd.gradcheck(function, given)
    assert torch.autograd.gradgradcheck(function, given)


@every_nonlinearity
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backend", [name for name in RUNNING if name != "reference"])
def test_every_backend_equals_the_reference(backend, nonlinearity, shape, bias):
    inputs = problem(shape, nonlinearity, bias)
    g = torch.randn(*shape[:2], shape[3], dtype=torch.float64)
    torch.testing.assert_close(
        gradients(BACKENDS[backend], inputs, nonlinearity, g),
        gradients(reference, inputs, nonlinearity, g),
    )


BATCH_SIZES = [[3], [3, 1], [2, 2, 2, 1], [4, 3, 2, 1, 1], [5] * 20 + [4] * 9 + [1] * 13]


@every_nonlinearity
@pytest.mark.parametrize("sizes", BATCH_SIZES, ids=lambda sizes: str(len(sizes)))
@pytest.mark.parametrize("backend", [name for name in RUNNING if name != "reference"])
def test_every_backend_equals_the_reference_on_packed_rows(backend, nonlinearity, sizes):
    x, _, *weights = problem((1, sum(sizes), 2, 3), nonlinearity)
    h0 = torch.randn(sizes[0], 3, dtype=torch.float64, requires_grad=True)
    inputs = (x[0].detach().requires_grad_(), h0, *weights)
    g = torch.randn(sum(sizes), 3, dtype=torch.float64)
    torch.testing.assert_close(
        gradients(BACKENDS[backend], inputs, nonlinearity, g, torch.tensor(sizes)),
        gradients(reference, inputs, nonlinearity, g, torch.tensor(sizes)),
    )


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 23])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_of_time_do_not_show(length, packed, monkeypatch):
    monkeypatch.setattr(fused_module, "CHUNK_BYTES", 1)  # blocks of the least length, 8 steps
    x, *inputs = problem((length, 2, 3, 4), "modrelu")
    sizes = torch.full((length,), 2) if packed else None
    if packed:
        x = x.detach().flatten(0, 1).requires_grad_()
    g = torch.randn(*x.shape[:-1], 4, dtype=torch.float64)
    torch.testing.assert_close(
        gradients(BACKENDS["fused"], (x, *inputs), "modrelu", g, sizes),
        gradients(reference, (x, *inputs), "modrelu", g, sizes),
    )


def test_the_operator_asks_only_for_the_gradients_that_are_wanted(monkeypatch):
    asked = []

    def record(grad, states, needed, *arguments):
        asked.append(list(needed))
        return recurrence_backward(grad, states, needed, *arguments)

    monkeypatch.setattr(operator_module, "recurrence_backward", record)
    inputs = [a.detach() for a in problem((4, 2, 2, 3), "modrelu")]
    inputs[2].requires_grad_()
    BACKENDS["operator"](*inputs, "modrelu").sum().backward()
    assert asked == [[False, False, True, False, False, False]]


def test_the_operator_is_well_formed():
    inputs = problem((4, 2, 2, 3), "modrelu")
    torch.library.opcheck(torch.ops.orthornn.recurrence.default, (*inputs, "modrelu", None))


def test_fused_in_float32_stays_near_the_float64_reference():
    shape = (400, 8, 3, 32)
    exact = problem(shape, "modrelu")
    rough = [a.detach().float().requires_grad_() for a in exact]
    g = torch.randn(400, 8, 32, dtype=torch.float64)
    h, found = gradients(BACKENDS["fused"], rough, "modrelu", g.float())
    h_exact, expected = gradients(reference, exact, "modrelu", g)
    eps = torch.finfo(torch.float32).eps
    assert (h - h_exact).norm() < 400 * eps * h_exact.norm()
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() < 1e-2 * b.norm()  # a sign may flip at modReLU's threshold


@pytest.mark.parametrize("engine", [name for name in RUNNING if name in ENGINES])
@pytest.mark.parametrize("frozen", range(6))
def test_a_gradient_that_is_not_wanted_is_not_made(frozen, engine):
    inputs = [a.detach() for a in problem((5, 2, 3, 4), "modrelu")]
    run_forward, run_backward, *_ = ENGINES[engine]
    states, g = run_forward(*inputs, "modrelu"), torch.randn(5, 2, 4, dtype=torch.float64)
    everything = run_backward(g, inputs, states, "modrelu", None, [True] * 6)
    needed = [i != frozen for i in range(6)]
    found = run_backward(g, inputs, states, "modrelu", None, needed)
    assert found[frozen] is None
    expected = [a for i, a in enumerate(everything) if i != frozen]
    torch.testing.assert_close([a for a in found if a is not None], expected)
    made = recurrence_backward(g, states, needed, *inputs, "modrelu", None)
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("backend", RUNNING)
def test_linear_orthogonal_recurrence_keeps_the_gradient_norm_over_ten_thousand_steps(backend):
    x, h0, w_hh, w_ih, _, _ = problem((10_000, 1, 1, 16), "identity", bias=False)
    h = BACKENDS[backend](0 * x, h0, w_hh, w_ih, None, None, "identity")
    g = torch.randn(1, 16, dtype=torch.float64)
    (dh0,) = torch.autograd.grad(h[-1], h0, g)
    assert dh0.norm() / g.norm() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("backend", [name for name in RUNNING if name != "reference"])
def test_writing_into_the_output_before_backward_is_an_error(backend):
    inputs = problem((5, 2, 3, 4), "modrelu")
    h = BACKENDS[backend](*inputs, "modrelu")
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
                f(*arguments, "modrelu").sin().sum(), (x, w), create_graph=create, retain_graph=True
            )
            for f in map(BACKENDS.get, RUNNING)
            for create in (True, False)
        ]
        for other in found[1:]:
            torch.testing.assert_close(found[0], other)


def test_unknown_backend_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"one of \['compiled', 'fused', .*\], got 'cuda'"):
        choose("cuda")


def test_the_choice_follows_who_looks_inside():
    assert choose(None) is by_hand
    seen = torch.vmap(lambda a: a + (choose(None) is reference))(torch.zeros(2))
    assert torch.equal(seen, torch.ones(2))
    assert choose("fused") is BACKENDS["fused"]


def test_a_layer_names_what_runs_it():
    rnn, long = OrthoRNN(3, 8, batch_first=True), torch.zeros(4, 50, 3)
    expected = "compiled" if "compiled" in RUNNING else "fused"
    assert rnn.backend_for(long) == expected
    assert rnn.backend_for(long[0]) == expected
    assert rnn.backend_for(long[:, :1]) == "fused"
    assert rnn.backend_for(pack_sequence([long[0], long[1, :3]])) == expected
    assert rnn.bfloat16().backend_for(long.bfloat16()) == expected
    assert OrthoRNN(3, 8, backend="reference").backend_for(long) == "reference"
    linear = OrthoRNN(3, 8, nonlinearity="identity")
    assert linear.backend_for(torch.zeros(10_000, 3)) == "scan"


def test_backends_say_what_they_lack():
    found = backends()
    assert sorted(found) == sorted(BACKENDS)
    assert found["reference"] is None
    assert all(reason is None or "\n" not in reason for reason in found.values())
    assert [name for name in RUNNING if found[name] is not None] == []


def test_the_operator_takes_the_engine_that_the_layer_would(monkeypatch):
    chosen = []

    def record(*arguments):
        chosen.append(fastest(*arguments))
        return chosen[-1]

    monkeypatch.setattr(operator_module, "fastest", record)
    x = torch.randn(40, 4, 3)
    for nonlinearity in ("modrelu", "identity"):
        rnn = OrthoRNN(3, 128, nonlinearity=nonlinearity)
        expected = rnn.backend_for(x)
        rnn.backend = "operator"
        with torch.no_grad():
            rnn(x)
        rnn(x)[0].sum().backward()
        assert chosen == [expected] * 3
        chosen.clear()


def test_a_new_nonlinearity_is_one_row_and_runs_in_torch(monkeypatch):
    """Machine code knows its own list, and leaves what is not on it to the table's functions."""
    softsign = Nonlinearity(
        torch.nn.functional.softsign,
        lambda z: z.div_(z.abs() + 1),
        lambda g, h: g.mul_((1 - h.abs()).square()),
    )
    monkeypatch.setitem(NONLINEARITIES, "softsign", softsign)
    rnn, x = OrthoRNN(3, 20, nonlinearity="softsign", dtype=torch.float64), torch.randn(30, 4, 3)
    assert rnn.backend_for(x.double()) == "fused"
    found = []
    for backend in (None, "reference", "operator"):
        rnn.backend = backend
        found.append(torch.autograd.grad(rnn(x.double())[0].sum(), list(rnn.parameters())))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], found[1])
    assert "nonlinearity must be one of" in triton.fits(x, x[0], "softsign")
    with pytest.raises(ValueError, match=r"'compiled' cannot run this: .* got 'softsign'"):
        OrthoRNN(3, 20, nonlinearity="softsign", backend="compiled")
