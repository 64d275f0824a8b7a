"""SwitchedOrthoRNN: what it computes, what it learns by, and what it refuses."""

import itertools

import pytest
import torch
from torch import nn

from orthornn import (
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    SwitchedOrthoRNN,
    backends,
    param_groups,
    project_,
)
from orthornn.nn.exact_gate import exact_gate
from tests.nn.cases import every_transition, vary

OPTIONS = [
    {"additive": additive, "resets": resets, "reflections": reflections}
    for additive, resets, reflections in itertools.product([False, True], [False, True], [None, 2])
]
every_option = pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: ", ".join(f"{k}={v}" for k, v in o.items() if v) or "none"
)


def matrix(rnn, x):
    """W(x), (H, H)."""
    if rnn.reflections is None:
        return rnn.weight_hh[x]
    w = torch.eye(rnn.hidden_size, dtype=rnn.initial_state.dtype)
    for v in rnn.vectors.weight[x].view(rnn.reflections, rnn.hidden_size):
        w = w - 2 * torch.outer(v, v @ w) / v.square().sum()
    return w


def plain_loop(rnn, tokens):
    """h_t = g (W(x_t) h_{t-1} + V(x_t)) + (1 - g) r(x_t) of one sequence, (T, H)."""
    h, states = rnn.initial_state, []
    for x in tokens.tolist():
        h = matrix(rnn, x) @ h
        h = h + rnn.shift.weight[x] if rnn.additive else h
        if rnn.resets and rnn.gate.weight[x] <= 0:
            h = rnn.reset.weight[x]
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("backend", [None, "autograd"])
@every_option
def test_states_follow_the_formula(options, backend):
    rnn = vary(SwitchedOrthoRNN(4, 5, backend=backend, dtype=torch.float64, **options))
    tokens = torch.randint(4, (9, 3))
    output, h_n = rnn(tokens)
    for b in range(3):
        expected = plain_loop(rnn, tokens[:, b])
        torch.testing.assert_close(output[:, b], expected)
        torch.testing.assert_close(h_n[0, b], expected[-1])


@every_option
def test_gradients_are_those_of_the_formula_but_for_the_gate(options):
    rnn = vary(SwitchedOrthoRNN(4, 5, dtype=torch.float64, **options))
    tokens = torch.randint(4, (9,))
    learned = [p for name, p in rnn.named_parameters() if not name.startswith("gate")]
    torch.testing.assert_close(
        *(
            torch.autograd.grad(states.sin().sum(), learned, materialize_grads=True)
            for states in (rnn(tokens)[0], plain_loop(rnn, tokens))
        )
    )


def test_the_gradient_of_a_gate_is_that_of_a_factor():
    rnn = vary(SwitchedOrthoRNN(3, 4, resets=True, additive=True, dtype=torch.float64))
    tokens = torch.tensor([1, 0, 2, 1, 0, 0, 2])
    rnn(tokens)[0].sin().sum().backward()
    g = (rnn.gate.weight > 0).double().detach().requires_grad_()
    h, loss = rnn.initial_state, 0
    for x in tokens.tolist():
        moved = rnn.weight_hh[x] @ h + rnn.shift.weight[x]
        h = g[x] * moved + (1 - g[x]) * rnn.reset.weight[x]
        loss = loss + h.sin().sum()
    torch.testing.assert_close(rnn.gate.weight.grad, torch.autograd.grad(loss, g)[0])


def test_a_gate_is_exactly_open_or_shut_and_has_the_derivative_of_its_parameter():
    p = torch.tensor([-1e9, -0.3, 0.0, 1e-30, 0.7, 1e9], requires_grad=True)
    g = exact_gate(p)
    assert g.tolist() == [0, 0, 0, 1, 1, 1]
    g.backward(torch.arange(6.0))
    assert p.grad.tolist() == [0, 1, 2, 3, 4, 5]


@every_transition
def test_the_learned_start_has_a_gradient_and_a_given_one_takes_its_place(make):
    rnn, x = make(3, 5, dtype=torch.float64), make.draw(6, 2, dtype=torch.float64)
    rnn.reset_parameters()  # opens the gates
    rnn(x)[0][0].sum().backward()
    assert rnn.initial_state.grad.abs().sum() > 0
    start = rnn.initial_state.detach().expand(1, 2, 5)
    torch.testing.assert_close(rnn(x, start), rnn(x))
    rnn.zero_grad()
    rnn(x, start)[0].sum().backward()
    assert rnn.initial_state.grad is None


@pytest.mark.parametrize("backend", ["autograd", "c", "eager", "scan"])
def test_a_shut_gate_forgets_exactly(backend):
    if backends()[backend] is not None:
        pytest.skip(backends()[backend])
    rnn = SwitchedOrthoRNN(3, 8, resets=True, backend=backend)
    with torch.no_grad():
        rnn.gate.weight[2] = -1e-3
    tokens = torch.randint(2, (130, 2))
    tokens[70] = 2
    h0 = torch.randn(1, 2, 8, requires_grad=True)
    states = rnn(tokens, h0)[0]
    assert torch.equal(states[70], rnn.reset.weight[2].expand(2, 8))
    assert torch.equal(states[70:], rnn(tokens, 100 * h0)[0][70:])
    assert not torch.autograd.grad(states[70:].sum(), h0)[0].any()
    assert torch.autograd.grad(rnn(tokens, h0)[0][69].sum(), h0)[0].all()


def test_matrices_of_a_group_track_it_exactly():
    elements = torch.tensor(list(itertools.permutations(range(3))))
    rnn = SwitchedOrthoRNN(6, 3, dtype=torch.float64)
    rnn.weight_hh = nn.Parameter(nn.functional.one_hot(elements, 3).double())
    tokens = torch.randint(6, (1000,))
    states, s = rnn(tokens)[0], torch.arange(3)
    for x, h in zip(tokens, states, strict=True):
        s = s[elements[x]]
        assert torch.equal(h, rnn.initial_state[s])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_reflections_are_orthogonal_with_the_determinant_of_their_number(k):
    rnn = SwitchedOrthoRNN(7, 5, reflections=k, dtype=torch.float64)
    with torch.no_grad():
        rnn.vectors.weight.mul_(torch.rand(7, 1) + 0.1)  # their length does not matter
    eye = torch.eye(5, dtype=torch.float64)
    columns, _ = rnn(torch.arange(7).repeat_interleave(5).unsqueeze(0), eye.repeat(7, 1)[None])
    w = columns.view(7, 5, 5).mT
    torch.testing.assert_close(w.mT @ w, eye.expand(7, 5, 5))
    torch.testing.assert_close(torch.linalg.det(w), torch.full((7,), (-1.0) ** k).double())


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(RiemannianAdam, marks=pytest.mark.slow),
        pytest.param(RiemannianMuon, marks=pytest.mark.slow),
        RiemannianRMSprop,
        RiemannianSGD,
    ],
)
def test_a_thousand_noisy_steps_leave_every_matrix_orthogonal(optimizer):
    rnn = SwitchedOrthoRNN(120, 8)
    w, start = rnn.weight_hh, torch.linalg.det(rnn.weight_hh.detach().double())
    step = optimizer(param_groups(rnn, lr=1e-2, lr_ortho=1e-2))
    for _ in range(1000):
        w.grad = torch.randn_like(w)
        step.step()
    exact = w.detach().double()
    gram = exact.mT @ exact - torch.eye(8, dtype=torch.float64)
    assert torch.linalg.matrix_norm(gram).max() < 1e-6  # Frobenius; √8 roundings are 3.4e-7
    torch.testing.assert_close(torch.linalg.det(exact), start, atol=1e-6, rtol=0)


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("init", ["cayley", "haar", "henaff", "identity"])
def test_every_matrix_has_the_determinant_asked_for(determinant, init):
    rnn = SwitchedOrthoRNN(9, 4, init=init, determinant=determinant)
    for _ in range(2):
        assert torch.linalg.det(rnn.weight_hh).sign().eq(determinant).all()
        rnn.reset_parameters()


@pytest.mark.parametrize("determinant", [1, -1])
def test_a_determinant_is_kept_by_every_way_in(determinant):
    module = SwitchedOrthoRNN(3, 4, determinant=determinant)
    state = {k: v.clone() for k, v in module.state_dict().items()}
    state["weight_hh"][1, 0] *= -1
    wrong = nn.Parameter(state["weight_hh"].clone())
    for way in (
        lambda: module.load_state_dict(state),
        lambda: module.load_state_dict(state, assign=True),
        lambda: setattr(module, "weight_hh", wrong),
    ):
        with pytest.raises(RuntimeError, match=f"det x must be {determinant}, got {-determinant}"):
            way()
    module.load_state_dict(project_(module, state))
    module.to_empty(device="cpu")
    assert module.weight_hh.manifold.determinant == determinant
    assert module.double().weight_hh.manifold.determinant == determinant
    assert torch.linalg.det(module.weight_hh).sign().eq(determinant).all()


@every_transition
def test_a_reset_draws_directions_and_opens_the_gates(make):
    rnn, x = make(3, 5), make.draw(20, 2)
    starts = []
    for _ in range(2):
        rnn.reset_parameters()
        starts.append(rnn.initial_state.detach().clone())
        torch.testing.assert_close(rnn.initial_state.norm(), torch.tensor(1.0))
        # all gates open and no shift: nothing is lost
        torch.testing.assert_close(rnn(x)[0].norm(dim=-1), torch.ones(20, 2))
    assert not torch.equal(*starts)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_tokens_of_either_integer_dtype(dtype):
    rnn, tokens = SwitchedOrthoRNN(5, 4), torch.randint(5, (7, 2))
    torch.testing.assert_close(rnn(tokens.to(dtype)), rnn(tokens))


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool], ids=str)
@pytest.mark.parametrize("options", [{}, {"reflections": 2}], ids=["matrices", "reflections"])
def test_tokens_of_another_dtype_are_refused(dtype, options):
    with pytest.raises(TypeError, match=f"torch.int64 or torch.int32, got {dtype}"):
        SwitchedOrthoRNN(5, 4, **options)(torch.ones(7, 2, dtype=dtype))


@pytest.mark.parametrize("token", [-1, 5, 2**31 - 1])
@pytest.mark.parametrize("backend", [None, "autograd", "custom_op"])
def test_a_token_out_of_range_is_named_with_the_range(token, backend):
    tokens = torch.randint(5, (7, 2))
    tokens[3, 1] = token
    with pytest.raises(IndexError, match=f"expected tokens from 0 to 4, got {token}"):
        SwitchedOrthoRNN(5, 4, backend=backend)(tokens)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, r"init must be one of \[.*\], got 'random'", {"init": "random"}),
        (ValueError, r"retraction must be one of \[.*\], got 'x'", {"retraction": "x"}),
        (ValueError, r"determinant must be one of \[1, -1, None\], got 2", {"determinant": 2}),
        (ValueError, "reflections must be None or an int of at least 1, got 0",
         {"reflections": 0}),
        (ValueError, "reflections must be .* got True", {"reflections": True}),
        (ValueError, "options of matrices, and there are none with reflections=2",
         {"reflections": 2, "determinant": 1}),
        (ValueError, "options of matrices, and there are none with reflections=2",
         {"reflections": 2, "init": "henaff"}),
        (ValueError, "num_embeddings must be greater than zero, got 0", {"num_embeddings": 0}),
        (TypeError, "num_embeddings should be of type int, got: float", {"num_embeddings": 2.5}),
    ],
)  # fmt: skip
def test_a_bad_option_is_refused_with_the_choices(error, match, options):
    with pytest.raises(error, match=match):
        SwitchedOrthoRNN(**{"num_embeddings": 3, "hidden_size": 5, **options})


def test_repr_shows_the_options():
    assert repr(SwitchedOrthoRNN(3, 5)) == "SwitchedOrthoRNN(3, 5, init=haar, retraction=polar)"
    text = repr(SwitchedOrthoRNN(3, 5, True, resets=True, reflections=2, backend="eager"))
    assert "3, 5, resets=True, reflections=2, batch_first=True, backend=eager" in text
    assert "(reset): Embedding(3, 5)" in text


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_that_older_utilities_make_are_made_before_every_pass(norm):
    rnn = SwitchedOrthoRNN(5, 4, reflections=2, dtype=torch.float64)
    norm(rnn.vectors)
    tokens = torch.randint(5, (6, 3))
    original = next(
        p for n, p in rnn.vectors.named_parameters() if n in ("weight_v", "weight_orig")
    )
    for _ in range(2):  # a second backward pass needs a graph of its own
        before = rnn(tokens)[0]
        before.sum().backward()
        with torch.no_grad():
            original.add_(torch.randn_like(original))
            assert not torch.allclose(rnn(tokens)[0], before)


def test_what_is_no_tensor_is_refused():
    rnn = SwitchedOrthoRNN(5, 4)
    with pytest.raises(TypeError, match="expected a tensor or a PackedSequence, got list"):
        rnn([[1, 2]])
    with pytest.raises(TypeError, match="expected hx to be a tensor, got list"):
        rnn(torch.zeros(2, 1, dtype=torch.int64), [0.0])
