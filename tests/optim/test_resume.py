"""Continuing from a state dict is bit for bit what an uninterrupted run does, in every mode."""

import copy
import io
import pickle

import geoopt
import pytest
import torch
from torch import nn

from orthornn import RiemannianAdam, RiemannianMuon, RiemannianRMSprop, RiemannianSGD, Stiefel
from orthornn.manifolds.metrics import METRICS
from orthornn.manifolds.retractions import RETRACTIONS

MODES = {
    "sgd": (RiemannianSGD, {}),
    "sgd, momentum": (RiemannianSGD, {"momentum": 0.9, "dampening": 0.1}),
    "sgd, nesterov": (RiemannianSGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (RiemannianAdam, {}),
    "adam, amsgrad": (RiemannianAdam, {"amsgrad": True}),
    "adam, scalar": (RiemannianAdam, {"adaptivity": "scalar"}),
    "adam, scalar, amsgrad": (RiemannianAdam, {"adaptivity": "scalar", "amsgrad": True}),
    "adam, maximize": (RiemannianAdam, {"maximize": True}),
    "rmsprop": (RiemannianRMSprop, {}),
    "rmsprop, momentum": (RiemannianRMSprop, {"momentum": 0.5}),
    "rmsprop, scalar": (RiemannianRMSprop, {"adaptivity": "scalar", "momentum": 0.5}),
    "sgd, rows": (RiemannianSGD, {"rows": 0.5}),
    "sgd, momentum, rows": (RiemannianSGD, {"momentum": 0.9, "rows": 2}),
    "rmsprop, rows": (RiemannianRMSprop, {"momentum": 0.5, "rows": 0.5, "seed": 3}),
    "muon": (RiemannianMuon, {}),
}


class Model(nn.Module):
    """A point and a plain parameter, moved by given gradients."""

    def __init__(self, shape, dtype, manifold):
        super().__init__()
        self.x = geoopt.ManifoldParameter(manifold.random(*shape, dtype=dtype), manifold=manifold)
        self.w = nn.Parameter(torch.ones(3, dtype=dtype))

    def groups(self):
        return [{"params": [self.x], "lr": 0.02}, {"params": [self.w], "lr": 0.1}]

    def advance(self, optimizer, schedule, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(4):
            for p in self.parameters():
                p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(6, 6), (2, 4, 4), (7, 3), (3, 7)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("retraction", "metric"),
    [*((name, "euclidean") for name in RETRACTIONS), *(("polar", name) for name in METRICS)],
)
def test_resume_is_bit_exact(mode, shape, dtype, retraction, metric):
    kind, options = MODES[mode]
    if ("rows" in mode or mode == "muon") and shape[-1] != shape[-2]:
        pytest.skip("square points only")
    manifold = Stiefel(retraction, metric)

    def build():
        model = Model(shape, dtype, manifold)
        optimizer = kind(model.groups(), **options)
        return model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    parts = build()
    parts[0].advance(*parts[1:], seed=1)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    parts[0].advance(*parts[1:], seed=2)

    file.seek(0)
    again = build()
    for part, state in zip(again, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    again[0].advance(*again[1:], seed=2)
    assert torch.equal(parts[0].x, again[0].x)
    assert torch.equal(parts[0].w, again[0].w)
    for key, value in parts[1].state[parts[0].x].items():
        restored = again[1].state[again[0].x][key]
        assert torch.equal(restored, value)
        assert restored.dtype == value.dtype


def test_a_state_of_other_shapes_is_refused():
    state = {}
    for n in (4, 5):
        x = geoopt.ManifoldParameter(Stiefel().random(n, n), manifold=Stiefel())
        optimizer = RiemannianAdam([x])
        if state:
            with pytest.raises(ValueError, match=r"exp_avg of shape \(5, 5\), got \(4, 4\)"):
                optimizer.load_state_dict(state)
        x.grad = torch.randn_like(x)
        optimizer.step()
        state = optimizer.state_dict()


def test_a_state_from_before_an_option_takes_its_default():
    x = geoopt.ManifoldParameter(Stiefel().random(4, 4), manifold=Stiefel())
    optimizer = RiemannianAdam([x], on_nonfinite="skip")
    state = optimizer.state_dict()
    del state["param_groups"][0]["on_nonfinite"]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["on_nonfinite"] == "raise"


@pytest.mark.parametrize(
    ("former", "adaptivity"), [("element", "elementwise"), ("matrix", "scalar")]
)
@pytest.mark.parametrize("cls", [RiemannianAdam, RiemannianRMSprop])
def test_a_state_with_the_former_name_of_an_adaptivity_loads(cls, former, adaptivity):
    def stepped(optimizer, x):
        x.grad = torch.linspace(-1, 1, 16).view(4, 4)
        optimizer.step()
        return x.detach().clone()

    x = geoopt.ManifoldParameter(torch.eye(4), manifold=Stiefel())
    optimizer = cls([x], adaptivity=adaptivity)
    stepped(optimizer, x)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["adaptivity"] = former
    y = geoopt.ManifoldParameter(x.detach().clone(), manifold=Stiefel())
    resumed = cls([y])
    resumed.load_state_dict(state)
    assert state["param_groups"][0]["adaptivity"] == former  # the caller's is left alone
    assert resumed.param_groups[0]["adaptivity"] == adaptivity
    assert torch.equal(stepped(resumed, y), stepped(optimizer, x))


def test_a_pickle_with_the_former_name_of_an_adaptivity_loads():
    x = geoopt.ManifoldParameter(torch.eye(4), manifold=Stiefel())
    optimizer = RiemannianAdam([x], adaptivity="scalar")
    optimizer.defaults["adaptivity"] = optimizer.param_groups[0]["adaptivity"] = "matrix"
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.defaults["adaptivity"] == again.param_groups[0]["adaptivity"] == "scalar"


KINDS = {
    "SGD": lambda p: RiemannianSGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: RiemannianAdam(p, lr=0.1),
    "RMSprop": lambda p: RiemannianRMSprop(p, lr=0.1),
}


@pytest.mark.parametrize("mine", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_the_state_of_another_kind_of_optimizer_is_refused_by_name(mine, other):
    x = geoopt.ManifoldParameter(Stiefel().random(4, 4), manifold=Stiefel())
    optimizer = KINDS[other]([x])
    x.grad = torch.randn_like(x)
    optimizer.step()
    if mine == other:
        KINDS[mine]([x]).load_state_dict(optimizer.state_dict())
        return
    with pytest.raises(ValueError, match=r"of the same kind .* got a group without \['"):
        KINDS[mine]([x]).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_moments_of_another_manifold_are_refused(kind):
    theirs = geoopt.ManifoldParameter(torch.eye(4), manifold=geoopt.EuclideanStiefel())
    optimizer = KINDS[kind]([theirs])
    theirs.grad = torch.randn(4, 4)
    optimizer.step()
    theirs.grad = torch.randn(4, 4)
    optimizer.step()
    ours = geoopt.ManifoldParameter(torch.eye(4), manifold=Stiefel())
    with pytest.raises(ValueError, match=r"(skew matrix|exp_avg_sq of shape)"):
        KINDS[kind]([ours]).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("kind", ["Adam", "RMSprop"])
def test_steps_are_counted_exactly_under_a_low_default_precision(kind):
    x = geoopt.ManifoldParameter(torch.eye(4), manifold=Stiefel())
    optimizer = KINDS[kind]([x])
    torch.set_default_dtype(torch.bfloat16)
    try:
        for _ in range(300):
            x.grad = torch.zeros(4, 4, dtype=torch.float32)
            optimizer.step()
    finally:
        torch.set_default_dtype(torch.float32)
    assert optimizer.state[x]["step"].item() == 300
