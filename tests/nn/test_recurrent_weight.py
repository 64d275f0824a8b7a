"""The ways in which a recurrent weight might stop being a point, and projection back."""

import re

import geoopt
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.swa_utils import AveragedModel

from orthornn import (
    OrthoRNN,
    OrthoRNNCell,
    SpecialOrthogonal,
    Stiefel,
    project_,
)
from orthornn.diagnostics import orthogonality_error
from tests.nn.cases import every_module_with_points

OURS = {"OrthoRNN": OrthoRNN, "OrthoRNNCell": OrthoRNNCell}
both = pytest.mark.parametrize("make", OURS.values(), ids=OURS)


def name_of(module):
    return next(name for name in module.state_dict() if "weight_hh" in name)


def point(module):
    return module.get_parameter(name_of(module))


def check(module):
    assert isinstance(point(module), geoopt.ManifoldParameter)
    assert orthogonality_error(module) < 1e-5


@both
def test_projection_makes_a_foreign_checkpoint_loadable(make):
    theirs = nn.RNN(3, 5) if make is OrthoRNN else nn.RNNCell(3, 5)
    model = nn.Sequential(make(3, 5, nonlinearity="tanh"))
    state = {f"0.{k}": v for k, v in theirs.state_dict().items()}
    kept = {k: v.clone() for k, v in state.items()}
    model.load_state_dict(project_(model, dict(state)))
    name = next(k for k in state if "weight_hh" in k)
    torch.testing.assert_close(
        model.state_dict()[name], Stiefel().projx(state[name]), atol=1e-6, rtol=0
    )
    assert all(torch.equal(state[k], kept[k]) for k in state)
    assert project_(theirs) is theirs
    loaded = make(3, 5, nonlinearity="tanh")
    loaded.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(
        loaded.state_dict(), {k[2:]: v for k, v in model.state_dict().items()}
    )


@every_module_with_points
def test_projection_makes_a_checkpoint_of_noise_loadable(make):
    model = nn.Sequential(make(3, 5))
    state = {k: torch.randn_like(v) for k, v in model.state_dict().items()}
    kept = {k: v.clone() for k, v in state.items()}
    name = f"0.{name_of(model[0])}"
    projected = project_(model, dict(state))
    model.load_state_dict(projected)
    check(model[0])
    expected = model[0].manifold.projx(state[name])
    torch.testing.assert_close(model.state_dict()[name], expected, atol=1e-6, rtol=0)
    for key, value in kept.items():
        assert torch.equal(state[key], value)
        assert key == name or torch.equal(model.state_dict()[key], value)


@both
def test_projection_mends_what_left_the_manifold_and_touches_nothing_else(make):
    module = make(3, 5)
    plain = nn.RNN(3, 5)
    model = nn.Sequential(module, plain)
    rest = {k: v.clone() for k, v in model.state_dict().items() if "0.weight_hh" not in k}
    with torch.no_grad():
        point(module).mul_(1.3)
    assert orthogonality_error(model) > 0.1
    project_(model)
    check(module)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in rest.items())
    project_(model)


@every_module_with_points
def test_the_average_of_two_models_is_projected(make):
    average, other = AveragedModel(make(3, 5)), make(3, 5)
    average.update_parameters(other)
    average.update_parameters(make(3, 5))
    assert orthogonality_error(average) > 1e-2
    check(project_(average).module)


@both
def test_projection_of_half_precision_is_exact(make):
    theirs = (nn.RNN if make is OrthoRNN else nn.RNNCell)(3, 12).bfloat16()
    module = make(3, 12, nonlinearity="tanh")
    module.load_state_dict(project_(module, theirs.state_dict()))
    check(module)
    project_(theirs)
    w = theirs.state_dict()[name_of(module)].float()
    torch.testing.assert_close(w @ w.T, torch.eye(12), atol=2e-2, rtol=0)


def test_projection_of_tied_modules_and_of_none_at_all():
    tied = nn.ModuleList([OrthoRNN(3, 5), OrthoRNN(3, 5)])
    tied[1].weight_hh_l0 = tied[0].weight_hh_l0
    state = {k: 2 * v for k, v in tied.state_dict().items()}
    tied.load_state_dict(project_(tied, state))
    check(tied[0])
    meta = OrthoRNN(3, 5, device="meta")
    assert project_(meta) is meta
    with pytest.raises(torch.linalg.LinAlgError, match="NaN or Inf"):
        project_(tied, {"0.weight_hh_l0": torch.full((5, 5), torch.nan)})


@every_module_with_points
def test_a_weight_within_tolerance_is_taken_and_one_beyond_it_is_not(make):
    module = make(3, 9)
    state = {k: v.clone() for k, v in module.state_dict().items()}
    w = state[name_of(module)].clone()
    for error, taken in ((5e-5, True), (3e-4, False)):  # of each singular value's square
        state[name_of(module)] = w * (1 + error / 2)
        if taken:
            module.load_state_dict(state)
        else:
            with pytest.raises(RuntimeError, match="is not orthogonal"):
                module.load_state_dict(state)


@every_module_with_points
def test_no_way_round_the_check(make):
    module = make(3, 5)
    name, kept = name_of(module), point(module)
    wrong, right = nn.Parameter(torch.randn_like(kept)), kept.detach().clone()
    larger = torch.Size([*kept.shape[:-2], 6, 6])
    with pytest.raises(RuntimeError, match="is not orthogonal"):
        module.register_parameter(name, wrong)
    for way in (
        lambda: delattr(module, name),
        lambda: nn.utils.parametrizations.orthogonal(module, name),
    ):
        with pytest.raises(TypeError, match=f"{name} cannot be taken out of the module"):
            way()
    shapes = re.escape(f"{tuple(kept.shape)}, got {tuple(larger)}")
    with pytest.raises(ValueError, match=f"expected {name} of shape {shapes}"):
        setattr(module, name, nn.Parameter(torch.eye(6).expand(larger)))
    assert point(module) is kept
    assert type(wrong) is nn.Parameter
    setattr(module, name, None)
    with pytest.raises(RuntimeError, match="is not orthogonal"):
        setattr(module, name, wrong)
    setattr(module, name, nn.Parameter(right))
    check(module)
    other = next(n for n, _ in module.named_parameters(recurse=False) if n != name)
    delattr(module, other)


@every_module_with_points
def test_hooks_of_the_user_come_before_the_check(make):
    module = make(3, 5)
    state = {k: 2 * v for k, v in module.state_dict().items()}
    calls = []

    def mend(owner, incoming, prefix, *_):
        calls.append(prefix)
        project_(owner, incoming)

    handle = module.register_load_state_dict_pre_hook(mend)
    for _ in range(2):
        module.load_state_dict(state)
        check(module)
    assert calls == ["", ""]
    handle.remove()
    module.register_load_state_dict_pre_hook(lambda _, s, *__: s.update(state))
    with pytest.raises(RuntimeError, match="is not orthogonal"):
        module.load_state_dict(module.state_dict())
    assert len(module._load_state_dict_pre_hooks) == 1
    check(module)


@every_module_with_points
def test_uninitialised_memory_is_filled_with_the_identity(make, monkeypatch):
    module = make(3, 5)
    empty_like = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: empty_like(*a, **k).fill_(7))
    module.to_empty(device="cpu")
    expected = module.manifold.origin(*point(module).shape)
    assert torch.equal(point(module), expected)
    check(module)
    with torch.no_grad():
        point(module).mul_(2)
    assert torch.equal(module.double().get_parameter(name_of(module)), 2 * expected.double())


@every_module_with_points
def test_a_wrong_size_is_said_to_be_one(make):
    state = {k: 2 * v for k, v in make(3, 6).state_dict().items()}
    with pytest.raises(RuntimeError, match="size mismatch for weight_hh"):
        make(3, 5).load_state_dict(state)


@both
@pytest.mark.parametrize("move", ["swap", "overwrite", "assign", "set"])
def test_the_manifold_chosen_by_the_user_is_kept(make, move):
    module = make(3, 5, retraction="cayley")
    name = name_of(module)
    if move in ("assign", "set"):
        q = SpecialOrthogonal().random(5, 5)
        setattr(module, name, geoopt.ManifoldParameter(q.data, manifold=SpecialOrthogonal("qr")))
    kept = point(module).manifold
    switches = {
        "swap": torch.__future__.set_swap_module_params_on_conversion,
        "overwrite": torch.__future__.set_overwrite_module_params_on_conversion,
    }
    try:
        if move in switches:
            switches[move](True)
            module.to(torch.float32)  # to itself
            module.double()
        elif move == "assign":
            module.load_state_dict(module.state_dict(), assign=True)
        else:
            setattr(module, name, nn.Parameter(torch.eye(5)))
    finally:
        for switch in switches.values():
            switch(False)
    assert point(module).manifold == kept
    assert (kept == Stiefel("cayley")) == (move in switches)
    if move in ("assign", "set"):
        with pytest.raises(RuntimeError, match=r"is not a point of Special.*det x must be 1"):
            setattr(module, name, nn.Parameter(torch.eye(5)[[1, 0, 2, 3, 4]]))


@every_module_with_points
def test_an_adopted_parameter_keeps_its_identity_and_its_gradient(make):
    module = make(3, 5)
    p = nn.Parameter(module.manifold.origin(*point(module).shape).bfloat16())
    p.grad = torch.ones_like(p)
    setattr(module, name_of(module), p)
    assert point(module) is p
    assert p.dtype == p.grad.dtype == torch.float32
    assert torch.equal(p.grad, torch.ones(p.shape))


@every_module_with_points
def test_fake_weights_are_taken_without_their_values(make):
    with FakeTensorMode():
        module = make(3, 5)
        setattr(module, name_of(module), nn.Parameter(torch.empty(point(module).shape)))
        module.load_state_dict(make(3, 5).state_dict())
    assert point(module).manifold == module.manifold


def test_reset_leaves_alone_what_a_subclass_added():
    class Scaled(OrthoRNN):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.scale = nn.Parameter(torch.ones(4))
            self.weight_hh_extra = nn.Parameter(torch.ones(4, 2))
            self.inner = nn.Linear(2, 2)

    rnn = Scaled(3, 5)
    kept = rnn.inner.weight.detach().clone()
    rnn.reset_parameters()
    assert torch.equal(rnn.scale, torch.ones(4))
    assert torch.equal(rnn.weight_hh_extra, torch.ones(4, 2))
    assert torch.equal(rnn.inner.weight, kept)


def test_other_bases_of_a_subclass_are_asked_too():
    class Counts(nn.Module):
        loads = 0

        def _load_from_state_dict(self, *args):
            type(self).loads += 1
            super()._load_from_state_dict(*args)

    class Both(OrthoRNN, Counts):
        pass

    Both(3, 5).load_state_dict(OrthoRNN(3, 5).state_dict())
    assert Both.loads == 1
