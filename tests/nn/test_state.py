"""Whatever is done to a module, a recurrent weight stays a point or an error says why not."""

import copy
import io
import pickle

import geoopt
import pytest
import safetensors.torch
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parameters_to_vector, prune, vector_to_parameters

from orthornn import OrthoRNN, OrthoRNNCell, RiemannianAdam, Stiefel, param_groups
from orthornn.diagnostics import orthogonality_error
from orthornn.init import INITIALIZERS
from tests.nn.cases import case_of, every_module, every_module_with_points, every_network


def run(module):
    torch.manual_seed(7)
    make, dtype = case_of(module), next(module.parameters()).dtype
    return module(make.draw(*([2] if make.is_cell else [4, 2]), dtype=dtype))


def points(module):
    return [p for name, p in module.named_parameters() if "weight_hh" in name]


def check(module, like=None):
    """``module`` holds points of the manifold, and computes what ``like`` does."""
    for p in points(module):
        assert isinstance(p, geoopt.ManifoldParameter)
        assert p.manifold == module.manifold
        assert p.is_leaf
    assert (orthogonality_error(module) or 0) < 1e-5
    if isinstance(module, OrthoRNN):
        weights = [p for layer in module.all_weights for p in layer]
        assert [id(p) for p in module._flat_weights] == [id(p) for p in weights]
    if like is not None:
        torch.testing.assert_close(run(module), run(like))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_keys_and_order_are_torch_s_and_modrelu_adds_its_own(options):
    expected = list(nn.RNN(3, 5, **options).state_dict())
    assert list(OrthoRNN(3, 5, nonlinearity="relu", **options).state_dict()) == expected
    mine = list(OrthoRNN(3, 5, **options).state_dict())
    thresholds = [k.replace("weight_ih", "modrelu_bias") for k in expected if "weight_ih" in k]
    assert mine == expected + thresholds
    assert list(OrthoRNNCell(3, 5).state_dict())[:4] == list(nn.RNNCell(3, 5).state_dict())


@every_module
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "save", "weights_only", "safetensors"])
def test_copies_keep_the_manifold_and_the_values(make, way, tmp_path):
    module, file = make(3, 5), io.BytesIO()
    module.requires_grad_(False)
    if way == "deepcopy":
        check(copy.deepcopy(module), module)
        assert not any(p.requires_grad for p in copy.deepcopy(module).parameters())
    elif way == "pickle":
        check(pickle.loads(pickle.dumps(module)), module)
    elif way == "save":
        torch.save(module, file)
        file.seek(0)
        check(torch.load(file, weights_only=False), module)
    elif way == "weights_only":
        torch.save(module.state_dict(), file)
        file.seek(0)
        other = make(3, 5)
        other.load_state_dict(torch.load(file, weights_only=True))
        check(other, module)
    else:
        safetensors.torch.save_model(module, tmp_path / "m.safetensors")
        other = make(3, 5)
        safetensors.torch.load_model(other, tmp_path / "m.safetensors")
        check(other, module)


def test_loads_both_ways_between_torch_and_ours():
    ours, theirs = OrthoRNN(3, 5, 2, "tanh"), nn.RNN(3, 5, 2)
    theirs.load_state_dict(ours.state_dict())
    fresh = OrthoRNN(3, 5, 2, "tanh")
    fresh.load_state_dict(theirs.state_dict())
    check(fresh, ours)
    cell = OrthoRNNCell(3, 5, nonlinearity="relu")
    other = nn.RNNCell(3, 5, nonlinearity="relu")
    other.load_state_dict(cell.state_dict())
    cell.load_state_dict(other.state_dict())


@every_module_with_points
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("wrong", ["random", "doubled", "nan", "inf", "zero", "bfloat16"])
def test_a_weight_off_the_manifold_is_refused_before_anything_changes(make, assign, wrong):
    module = make(3, 12, init="haar")
    before = {k: v.clone() for k, v in module.state_dict().items()}
    state = {k: torch.randn_like(v) for k, v in before.items()}
    name = next(k for k in state if "weight_hh" in k)
    w = before[name]
    state[name] = {
        "random": state[name],
        "doubled": 2 * w,
        "nan": w.clone().index_fill_(0, torch.tensor(1), float("nan")),
        "inf": w.clone().index_fill_(0, torch.tensor(1), float("inf")),
        "zero": 0 * w,
        "bfloat16": w.bfloat16(),
    }[wrong]
    model = nn.Sequential(module, nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match=rf"0.{name} is not orthogonal: ‖xᵀx - I‖ = .*project_"):
        model.load_state_dict({f"0.{k}": v for k, v in state.items()}, assign=assign)
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    check(module)


@every_module_with_points
def test_assigned_weights_become_points(make):
    module, source = make(3, 5), make(3, 5)
    with torch.device("meta"):
        unreal = make(3, 5)
    name = next(k for k in source.state_dict() if "weight_hh" in k)
    for target in (module, unreal):
        target.load_state_dict(source.state_dict(), assign=True)
        check(target, source)
        assert getattr(target, name).data_ptr() == getattr(source, name).data_ptr()
    shape = getattr(module, name).shape
    q = module.manifold.random(*shape).data
    setattr(module, name, nn.Parameter(q, requires_grad=False))
    check(module)
    assert torch.equal(getattr(module, name), q)
    assert not getattr(module, name).requires_grad
    with pytest.raises(RuntimeError, match="is not orthogonal"):
        setattr(module, name, nn.Parameter(torch.randn(shape)))
    for wrong, manifold, error in (
        (torch.randn(shape), geoopt.EuclideanStiefel(), RuntimeError),
        (q, geoopt.Euclidean(), TypeError),
    ):
        with pytest.raises(error, match=r"is not orthogonal|on a Stiefel manifold"):
            setattr(module, name, geoopt.ManifoldParameter(wrong, manifold=manifold))
    setattr(module, name, getattr(source, name))
    assert getattr(module, name) is getattr(source, name)
    module.weight_hh_other = nn.Parameter(torch.randn(2))
    assert type(module.weight_hh_other) is nn.Parameter


@every_module
@pytest.mark.parametrize("future", ["swap", "overwrite", None])
def test_moves_keep_points_and_the_optimizer_s_hold_on_them(make, future):
    switches = {
        "swap": torch.__future__.set_swap_module_params_on_conversion,
        "overwrite": torch.__future__.set_overwrite_module_params_on_conversion,
        None: lambda _: None,
    }
    module = make(3, 5)
    held = dict(module.named_parameters())
    run(module)[0].sum().backward()
    grads = {name: p.grad.clone() for name, p in held.items()}
    try:
        switches[future](True)
        module.double()
        check(module)
        for name, p in module.named_parameters():
            assert p.dtype == torch.float64
            torch.testing.assert_close(p.grad, grads[name].double())
            assert (p is held[name]) == (future != "overwrite")
    finally:
        switches[future](False)


@every_module
def test_from_the_meta_device_to_a_real_one(make):
    with torch.device("meta"):
        module = make(3, 5)
    assert all(isinstance(p, geoopt.ManifoldParameter) for p in points(module))
    module.to_empty(device="cpu")
    check(module)
    module.reset_parameters()
    check(module)
    assert torch.isfinite(parameters_to_vector(module.parameters())).all()
    check(nn.utils.skip_init(make.kind, 3, 5, **make.options))


@pytest.mark.parametrize("init", sorted(INITIALIZERS))
def test_modules_of_fake_tensors_run(init):
    with FakeTensorMode():
        rnn = OrthoRNN(3, 5, 2, bidirectional=True, init=init)
        output, h_n = rnn(torch.randn(7, 2, 3))
        (output.sum() + h_n.sum()).backward()
        assert output.shape == (7, 2, 10)
        assert rnn.weight_hh_l0.manifold == Stiefel()
        assert OrthoRNNCell(3, 5, init=init)(torch.randn(2, 3)).shape == (2, 5)


@every_network
def test_networks_of_fake_tensors_run(make):
    with FakeTensorMode():
        output, h_n = make(3, 5)(make.draw(7, 2))
        (output.sum() + h_n.sum()).backward()
        assert (output.shape, h_n.shape) == ((7, 2, 5), (1, 2, 5))


@every_network
def test_meta_modules_give_shapes(make):
    output, h_n = make(3, 5, device="meta")(make.draw(7, 2).to("meta"))
    assert output.is_meta
    assert (output.shape, h_n.shape) == ((7, 2, 5), (1, 2, 5))


def test_meta_modules_of_layers_and_directions_give_shapes():
    rnn = OrthoRNN(3, 5, 2, bidirectional=True, device="meta")
    output, h_n = rnn(torch.randn(7, 2, 3, device="meta"))
    assert (output.shape, h_n.shape) == ((7, 2, 10), (4, 2, 5))


@every_module
def test_vectors_of_parameters_go_there_and_back(make):
    module = make(3, 5)
    other = copy.deepcopy(module)
    vector_to_parameters(parameters_to_vector(module.parameters()), module.parameters())
    check(module, other)


@every_module_with_points
@pytest.mark.parametrize("init", sorted(INITIALIZERS))
def test_reset_draws_points_anew(make, init):
    module = make(3, 6, init=init)
    with torch.no_grad():
        points(module)[0].zero_()
    module.reset_parameters()
    check(module)


def other_weights(module):
    """The owner and the name of every parameter that is no recurrent weight."""
    names = [n for n, p in module.named_parameters() if "weight_hh" not in n]
    return [(module.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in names]


@every_module
def test_other_weights_may_be_parametrized(make):
    module = make(3, 5)
    for owner, name in other_weights(module):
        before = run(module)
        nn.utils.parametrizations.weight_norm(owner, name)
        torch.testing.assert_close(run(module), before)
        torch.testing.assert_close(run(copy.deepcopy(module)), before)
        nn.utils.parametrize.remove_parametrizations(owner, name)
        torch.testing.assert_close(run(module), before)


@every_module
def test_other_weights_may_be_pruned_and_trained_on(make):
    module = make(3, 6)
    for owner, name in other_weights(module):
        prune.l1_unstructured(owner, name, 0.5)
        pruned = getattr(owner, name).detach().clone()
        assert (pruned == 0).sum() == round(0.5 * pruned.numel())
        with torch.no_grad():
            getattr(owner, f"{name}_orig").mul_(2)
        after = run(module)
        torch.testing.assert_close(getattr(owner, name), 2 * pruned)
        prune.remove(owner, name)
        torch.testing.assert_close(run(module), after)
    check(module)


@every_network
def test_training_after_a_move_keeps_the_weight_orthogonal(make):
    module = make(3, 5).double()
    optimizer = RiemannianAdam(param_groups(module, lr=1e-2, lr_ortho=1e-2))
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        module(make.draw(20, 2, dtype=torch.float64))[0].sin().sum().backward()
        optimizer.step()
    assert not any(torch.equal(p, start[name]) for name, p in module.named_parameters())
    assert (orthogonality_error(module) or 0) < 1e-12
