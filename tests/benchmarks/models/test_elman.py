import copy
import io

import pytest
import torch
from torch import nn
from torch.func import functional_call

from benchmarks import models
from benchmarks.models import (
    UnconstrainedRNN,
    orthogonal_parameters,
    orthogonal_weights,
    orthogonality_error,
)
from orthornn import OrthoRNN
from orthornn.init import reflect_
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

PARAMETRIZED = ["exprnn", "dtriv", "scornn", "householder"]
METHODS = ["ortho_soft", "ortho_free", *PARAMETRIZED]
INITS = ["henaff", "cayley", "haar", "identity"]

parametrized = pytest.mark.parametrize("name", PARAMETRIZED)
every = pytest.mark.parametrize("name", METHODS)
shapes = pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (2, True)])


def build(name, *args, **options):
    return getattr(models, name)(*args, **options)


def acting(core):
    """The state dict of an OrthoRNN with the weights that act in ``core``."""
    plain = {k: v for k, v in core.state_dict().items() if "parametrizations" not in k}
    return plain | orthogonal_weights(core)


def train(core, steps, seed=0, lr=0.05):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(core.parameters(), lr=lr)
    for _ in range(steps):
        dtype = core.weight_ih_l0.dtype
        x = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64).to(dtype)
        optimizer.zero_grad()
        core(x)[0].square().sum().backward()
        optimizer.step()


@shapes
@pytest.mark.parametrize("bias", [False, True])
@every
def test_output_is_orthornns_with_the_weights_that_act(name, bias, num_layers, bidirectional):
    core = build(name, 3, 6, num_layers, bidirectional, bias=bias)
    ortho = OrthoRNN(3, 6, num_layers, bias=bias, bidirectional=bidirectional)
    ortho.load_state_dict(acting(core))
    x, state = torch.randn(7, 2, 3), torch.randn(core(torch.randn(1, 2, 3))[1].shape)
    torch.testing.assert_close(core(x), ortho(x))
    torch.testing.assert_close(core(x, state), ortho(x, state))


@shapes
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_output_and_gradients_are_torchs(nonlinearity, num_layers, bidirectional):
    options = {"nonlinearity": nonlinearity, "bias": True}
    core = UnconstrainedRNN(3, 6, num_layers, bidirectional, **options).double()
    peer = nn.RNN(3, 6, num_layers, bidirectional=bidirectional, **options).double()
    peer.load_state_dict(core.state_dict())
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    state = torch.randn(core(x)[1].shape, dtype=torch.float64)
    for rnn in (core, peer):
        rnn(x, state)[0].square().sum().backward()
    torch.testing.assert_close(core(x, state), peer(x, state))
    for key, p in core.named_parameters():
        torch.testing.assert_close(p.grad, peer.get_parameter(key).grad)


@shapes
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("bias", [False, True])
def test_start_is_orthornns_draw_for_draw(nonlinearity, bias, num_layers, bidirectional):
    options = {"nonlinearity": nonlinearity, "bias": bias, "init": "cayley"}
    torch.manual_seed(5)
    core = models.ortho_free(3, 6, num_layers, bidirectional, input_scale=0.5, **options)
    torch.manual_seed(5)
    ortho = models.ortho(3, 6, num_layers, bidirectional, input_scale=0.5, **options)
    ours, theirs = dict(core.named_parameters()), dict(ortho.named_parameters())
    assert sorted(ours) == sorted(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", ["ortho", *METHODS])
def test_input_scale_multiplies_the_first_layer_only(name):
    torch.manual_seed(5)
    plain = build(name, 3, 6, 2, True)
    torch.manual_seed(5)
    scaled = build(name, 3, 6, 2, True, input_scale=0.25)
    for key, p in plain.named_parameters():
        factor = 0.25 if key.startswith("weight_ih_l0") else 1
        assert torch.equal(scaled.get_parameter(key), factor * p)


@pytest.mark.parametrize("name", ["ortho", *METHODS])
def test_modrelu_bias_fills_every_threshold_and_nothing_else(name):
    torch.manual_seed(5)
    plain = build(name, 3, 6, 2, True, bias=True)
    torch.manual_seed(5)
    filled = build(name, 3, 6, 2, True, bias=True, modrelu_bias=-0.5)
    thresholds = [f"modrelu_bias_l{k}{end}" for k in (0, 1) for end in ("", "_reverse")]
    for key, p in plain.named_parameters():
        expected = torch.full_like(p, -0.5) if key in thresholds else p
        assert torch.equal(filled.get_parameter(key), expected), key
    assert {key for key, _ in plain.named_parameters() if "modrelu" in key} == set(thresholds)


@pytest.mark.parametrize("name", ["ortho", *METHODS])
def test_modrelu_bias_is_of_modrelu_alone(name):
    torch.manual_seed(5)
    plain = build(name, 3, 6, bias=True, nonlinearity="tanh")
    torch.manual_seed(5)
    filled = build(name, 3, 6, bias=True, nonlinearity="tanh", modrelu_bias=-0.5)
    assert all(torch.equal(filled.get_parameter(k), p) for k, p in plain.named_parameters())


@pytest.mark.parametrize("size", [1, 6, 7])
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("seed", [1, 2, 3])
@parametrized
def test_weight_starts_at_the_drawn_point(name, init, size, seed):
    torch.manual_seed(seed)
    drawn = UnconstrainedRNN(3, size, init=init).weight_hh_l0.detach()
    torch.manual_seed(seed)
    core = build(name, 3, size, init=init)
    w = core.weight_hh_l0.detach()
    if name in ("exprnn", "scornn"):  # which reach one determinant only
        reflect_(drawn, 1)
    if name == "scornn":
        drawn = drawn * core.parametrizations.weight_hh_l0[0].signs
    torch.testing.assert_close(w, drawn, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("negative", "minus"), [(0.0, 0), (0.25, 2), (0.4, 3), (1.0, 7)])
def test_share_of_negative_signs(negative, minus):
    core = models.scornn(3, 7, init="identity", negative=negative)
    assert torch.equal(
        core.weight_hh_l0.detach().diagonal(), torch.tensor([1.0] * (7 - minus) + [-1.0] * minus)
    )


def test_cayley_map_is_the_papers():
    core = models.scornn(3, 6).double()
    train(core, 3)
    v, d = core.parametrizations.weight_hh_l0.original, torch.tensor([1.0] * 3 + [-1.0] * 3)
    a = torch.zeros(6, 6, dtype=torch.float64)
    a[tuple(torch.tril_indices(6, 6, -1))] = v.detach()
    a, eye = a - a.mT, torch.eye(6, dtype=torch.float64)
    expected = torch.linalg.inv(eye + a) @ (eye - a) @ d.double().diag()
    torch.testing.assert_close(core.weight_hh_l0.detach(), expected)


@shapes
@parametrized
def test_weights_move_and_stay_orthogonal_under_plain_adam(name, num_layers, bidirectional):
    core = build(name, 3, 8, num_layers, bidirectional)
    before = orthogonal_weights(core)
    train(core, 30)
    assert orthogonality_error(core) < 2e-5
    for key, w in orthogonal_weights(core).items():
        assert (w - before[key]).norm() > 0.1


@pytest.mark.parametrize(("strength", "low", "high"), [(None, 1, 9), (5.0, 0.001, 0.2)])
def test_free_weight_leaves_the_manifold_and_a_penalty_holds_it_near(strength, low, high):
    core = models.ortho_soft(3, 8, strength=strength) if strength else models.ortho_free(3, 8)
    optimizer = torch.optim.SGD(core.parameters(), lr=0.02)
    for _ in range(50):
        optimizer.zero_grad()
        loss = core(torch.randn(5, 2, 3))[0].square().mean()
        (loss + core.penalty() if strength else loss).backward()
        optimizer.step()
    assert low < orthogonality_error(core) < high


def test_penalty_is_the_sum_over_all_weights():
    core = models.ortho_soft(3, 5, 2, True, strength=0.5)
    assert core.penalty().item() == pytest.approx(0, abs=1e-10)
    with torch.no_grad():
        core.weight_hh_l1_reverse.mul_(2)
        core.weight_hh_l0.mul_(3)
    expected = 0.5 * ((4 - 1) ** 2 + (9 - 1) ** 2) * 5
    assert core.penalty().item() == pytest.approx(expected, rel=1e-5)
    core.penalty().backward()
    assert core.weight_hh_l0.grad.norm() > 0
    assert models.ortho_free(3, 5).penalty() is None


@pytest.mark.parametrize("nonlinearity", ["modrelu", "tanh"])
@every
def test_gradients_through_every_parametrization_are_finite_differences(name, nonlinearity):
    core = build(name, 2, 4, nonlinearity=nonlinearity, bias=True).double().eval()
    x = torch.randn(3, 2, 2, dtype=torch.float64)
    names = [key for key, _ in core.named_parameters()]
    start = [p.detach().clone() for p in core.parameters()]
    moves = [torch.zeros_like(p) for p in start]

    def output(*steps):
        # on the diagonal of torch's Householder parameter stand signs, which do not move
        free = [
            s.tril(-1) if name == "householder" and "weight_hh" in key else s
            for key, s in zip(names, steps, strict=True)
        ]
        moved = {key: p + s for key, p, s in zip(names, start, free, strict=True)}
        return functional_call(core, moved, (x,))[0]

    assert torch.autograd.gradcheck(output, [m.requires_grad_() for m in moves])


class Count(nn.Module):
    def __init__(self):
        super().__init__()
        self.reads = 0

    def forward(self, w):
        self.reads += 1
        return 1.0 * w


@pytest.mark.parametrize("length", [1, 9])
def test_a_weight_is_read_once_in_a_pass(length):
    core = UnconstrainedRNN(3, 4)
    counter = Count()
    nn.utils.parametrize.register_parametrization(core, "weight_hh_l0", counter, unsafe=True)
    counter.reads = 0
    core(torch.randn(length, 2, 3))
    assert counter.reads == 1


@pytest.mark.parametrize("before", [5, 6, 7])
@every
def test_resuming_from_a_state_dict_is_exact(name, before):
    options = {"rebase_every": 3} if name == "dtriv" else {}
    core = build(name, 3, 6, 2, True, **options)
    train(core, before)
    file = io.BytesIO()
    torch.save(core.state_dict(), file)
    file.seek(0)
    other = build(name, 3, 6, 2, True, **options)
    other.load_state_dict(torch.load(file, weights_only=True))
    copied = copy.deepcopy(core)
    for resumed in (core, other, copied):
        train(resumed, 5, seed=1)
    for key, value in core.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)
        assert torch.equal(copied.state_dict()[key], value)


@parametrized
def test_parameters_behind_a_weight_are_its_only_ones(name):
    core = build(name, 3, 6)
    (behind,) = orthogonal_parameters(core)
    assert behind is core.parametrizations.weight_hh_l0.original
    assert "weight_hh_l0" not in dict(core.named_parameters())


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("ortho_free", {"nonlinearity": "gelu"}, ValueError, "nonlinearity must be one of"),
        ("ortho_free", {"init": "zeros"}, ValueError, "init must be one of"),
        ("ortho_free", {"backend": "cuda"}, ValueError, "backend must be None or one of"),
        ("ortho_free", {"bias": "no"}, TypeError, "bias must be true or false, got 'no'"),
        ("ortho", {"bias": 0}, TypeError, "bias must be true or false, got 0"),
        ("ortho_free", {"num_layers": 0}, ValueError, "num_layers must be greater than zero"),
        ("ortho_free", {"dropout": 2.0}, ValueError, "dropout should be a number in range"),
        ("ortho_free", {"input_scale": 0.0}, ValueError, "input_scale must be a finite number > 0"),
        ("ortho", {"input_scale": -1.0}, ValueError, "input_scale must be a finite number > 0"),
        ("ortho", {"modrelu_bias": float("nan")}, ValueError, "modrelu_bias must be a finite"),
        (
            "ortho_free",
            {"modrelu_bias": -1e39},
            ValueError,
            "to 1e[+]30, got -1e[+]39",
        ),
        ("ortho", {"input_scale": 1e39}, ValueError, "a finite number > 0 and <= 1e[+]30, got 1e"),
        ("ortho_free", {"modrelu_bias": "no"}, TypeError, "modrelu_bias must be a number"),
        ("ortho_soft", {"strength": 0.0}, ValueError, "strength must be a finite number > 0"),
        ("dtriv", {"rebase_every": 0}, ValueError, "rebase_every must be a whole number >= 1"),
        ("dtriv", {"rebase_every": 2.5}, ValueError, "rebase_every must be a whole number >= 1"),
        ("scornn", {"negative": 1.5}, ValueError, "negative must be a finite number from 0 to 1"),
    ],
)
def test_option_out_of_range_is_refused(name, options, error, message):
    with pytest.raises(error, match=message):
        build(name, 3, 6, **options)
