"""Every way to run h_t = a(x_t) M(x_t) h_{t-1} + b(x_t), beside a plain loop in float64."""

import pytest
import torch

from orthornn.recurrence import SWITCHED
from orthornn.recurrence.switched import eager, scan
from orthornn.recurrence.switched.inputs import (
    MATRIX,
    REFLECTIONS,
    Inputs,
    Kind,
    Needed,
)

BACKENDS = sorted(name for name, reason in SWITCHED.availability().items() if reason is None)
SIZES = [(1, 1, 1, 1, 1), (7, 3, 4, 5, 2), (30, 2, 3, 8, 3), (9, 5, 50, 13, 13)]  # T, B, V, H, k
BATCH_SIZES = torch.tensor([4, 4, 2, 1, 1])


def problem(size, transition, gated=True, shifted=True, dtype=torch.float64, packed=False):
    T, B, V, H, k = size
    tokens = torch.randint(V, (T, B))
    if packed:
        tokens, B = torch.randint(V, (int(BATCH_SIZES.sum()),)), int(BATCH_SIZES[0])
    weight = torch.linalg.qr(torch.randn(V, H, H, dtype=torch.float64))[0]
    if transition == REFLECTIONS:
        weight = torch.nn.functional.normalize(torch.randn(V, k, H, dtype=torch.float64), dim=-1)
    gate = torch.where(torch.rand(V) < 0.3, 0.0, torch.rand(V)).double() if gated else None
    shift = torch.randn(V, H, dtype=torch.float64) if shifted else None
    h0 = torch.randn(B, H, dtype=torch.float64)
    tensors = (a if a is None else a.to(dtype) for a in (h0, weight, gate, shift))
    return Inputs(tokens, *tensors), Kind(transition, BATCH_SIZES if packed else None)


def plain_loop(inputs, kind):
    """The formula, one sequence and one step at a time, with matrices."""
    sizes = kind.batch_sizes
    T = len(inputs.tokens) if sizes is None else len(sizes)
    rows = inputs.tokens if sizes is None else torch.split(inputs.tokens, sizes.tolist())
    h, states = list(inputs.h0), []
    for t in range(T):
        for b, x in enumerate(rows[t].tolist()):
            m = inputs.weight[x]
            if kind.transition == REFLECTIONS:
                m = torch.eye(len(h[b]), dtype=h[b].dtype)
                for v in inputs.weight[x]:
                    m = (torch.eye(len(v), dtype=v.dtype) - 2 * torch.outer(v, v)) @ m
            h[b] = m @ h[b]
            if inputs.gate is not None:
                h[b] = inputs.gate[x] * h[b]
            if inputs.shift is not None:
                h[b] = h[b] + inputs.shift[x]
            states.append(h[b])
    states = torch.stack(states)
    return states.view(T, -1, states.shape[-1]) if sizes is None else states


def derivatives(function, inputs, grad):
    leaves = [
        a.detach().clone().requires_grad_() if a is not None and a.is_floating_point() else a
        for a in inputs
    ]
    states = function(Inputs(*leaves))
    asked = [a for a in leaves if a is not None and a.requires_grad]
    return states.detach(), *torch.autograd.grad(states, asked, grad(states))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("transition", [MATRIX, REFLECTIONS])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_states_and_gradients_are_those_of_a_plain_loop(backend, size, transition, gated, packed):
    if backend == "scan" and packed:
        pytest.skip("a scan takes no packed sequences")
    inputs, kind = problem(size, transition, gated, gated, packed=packed)
    torch.testing.assert_close(
        derivatives(lambda a: SWITCHED.run(a, kind, backend), inputs, torch.cos),
        derivatives(lambda a: plain_loop(a, kind), inputs, torch.cos),
    )


@pytest.mark.parametrize("transition", [MATRIX, REFLECTIONS])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_and_their_derivatives_pass_gradcheck(backend, transition):
    inputs, kind = problem((6, 2, 3, 3, 2), transition)
    tokens, *floats = inputs

    def states(*tensors):
        return SWITCHED.run(Inputs(tokens, *tensors), kind, backend)

    leaves = [a.requires_grad_() for a in floats]
    assert torch.autograd.gradcheck(states, leaves)
    assert torch.autograd.gradgradcheck(states, leaves)


@pytest.mark.parametrize("transition", [MATRIX, REFLECTIONS])
@pytest.mark.parametrize("backend", BACKENDS)
def test_four_thousand_steps_in_float32_stay_within_1e_5_of_float64(backend, transition):
    inputs, kind = problem((4096, 2, 24, 8, 1), transition, False, False, torch.float32)
    inputs = inputs._replace(h0=torch.nn.functional.normalize(inputs.h0, dim=-1))
    exact = inputs._replace(h0=inputs.h0.double(), weight=inputs.weight.double())
    h = SWITCHED.run(inputs, kind, backend)
    assert (h - eager.forward(exact, kind)).abs().max() < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shut_gate_forgets_exactly(backend):
    inputs, kind = problem((6, 2, 2, 4, 1), MATRIX)
    tokens = torch.tensor([0, 0, 1, 0, 0, 0]).unsqueeze(1).expand(6, 2)
    inputs = inputs._replace(tokens=tokens, gate=torch.tensor([1.0, 0.0]).double())
    h = SWITCHED.run(inputs, kind, backend)
    assert torch.equal(h[2], inputs.shift[1].expand(2, 4))
    other = SWITCHED.run(inputs._replace(h0=inputs.h0 + 1), kind, backend)
    assert torch.equal(other[2:], h[2:])


@pytest.mark.parametrize("needed", [Needed(h0=True), Needed(weight=True), Needed(gate=True)])
@pytest.mark.parametrize("name", [name for name in BACKENDS if name in SWITCHED.backends])
def test_only_what_is_needed_is_computed(name, needed):
    inputs, kind = problem((7, 3, 4, 5, 2), REFLECTIONS)
    backend, states = SWITCHED.backends[name], eager.forward(inputs, kind)
    g = torch.randn_like(states)
    everything = Needed(*(a is not None and a.is_floating_point() for a in inputs))
    every = backend.backward(g, inputs, states, kind, everything)
    part = backend.backward(g, inputs, states, kind, needed)
    for asked, a, b in zip(needed, part, every, strict=True):
        torch.testing.assert_close(a, b if asked else None)


@pytest.mark.parametrize("transition", [MATRIX, REFLECTIONS])
def test_the_segments_of_a_scan_join(transition, monkeypatch):
    inputs, kind = problem((23, 2, 3, 4, 2), transition)
    whole = derivatives(lambda a: SWITCHED.run(a, kind, "scan"), inputs, torch.cos)
    for length in (1, 5, 22):
        monkeypatch.setattr(scan, "SEGMENT_BYTES", length * 2 * 4 * 4 * 8)
        parts = derivatives(lambda a: SWITCHED.run(a, kind, "scan"), inputs, torch.cos)
        torch.testing.assert_close(parts, whole)


@pytest.mark.slow
@pytest.mark.parametrize("transition", [MATRIX, REFLECTIONS])
def test_the_operator_is_one_of_torch(transition):
    inputs, kind = problem((6, 2, 3, 4, 2), transition)
    tokens, *floats = inputs
    torch.library.opcheck(
        torch.ops.orthornn.switched_recurrence.default,
        (tokens, *(a.requires_grad_() for a in floats), *kind),
    )


def test_a_backend_that_is_not_one_of_the_table_is_refused():
    inputs, kind = problem((2, 1, 2, 3, 1), MATRIX)
    with pytest.raises(ValueError, match=r"backend must be None or one of \['autograd', .*'eager'"):
        SWITCHED.run(inputs, kind, "triton")


@pytest.mark.parametrize("transition", [MATRIX, REFLECTIONS])
@pytest.mark.parametrize("name", ["h0", "weight", "gate", "shift"])
@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_tensors_whose_sizes_do_not_go_together_are_refused(backend, name, transition):
    inputs, kind = problem((9, 3, 5, 4, 2), transition)
    wrong = {
        "h0": inputs.h0[:, :3],
        "weight": inputs.weight[..., :3],
        "gate": inputs.gate[:4],
        "shift": inputs.shift[:4],
    }
    inputs = inputs._replace(**{name: wrong[name]})
    inputs.tokens[5, 1] = 4  # which a short table does not have
    with pytest.raises((RuntimeError, IndexError)):
        SWITCHED.run(inputs, kind, backend)


def test_a_scan_refuses_packed_rows():
    inputs, kind = problem((2, 1, 2, 3, 1), MATRIX, packed=True)
    with pytest.raises(ValueError, match="'scan' cannot run this: it takes no packed sequences"):
        SWITCHED.run(inputs, kind, "scan")


@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_no_sequences_give_no_states(backend):
    inputs, kind = problem((3, 1, 2, 4, 1), MATRIX)
    inputs = inputs._replace(tokens=inputs.tokens[:, :0], h0=inputs.h0[:0].requires_grad_())
    h = SWITCHED.run(inputs, kind, backend)
    assert h.shape == (3, 0, 4)
    h.sum().backward()
