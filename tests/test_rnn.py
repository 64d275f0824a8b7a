"""OrthoRNN against torch.nn.RNN, which is the oracle of its contract."""

import copy
import io
import pickle

import geoopt
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, OrthoRNNCell, Stiefel
from orthornn.diagnostics import orthogonality_error
from orthornn.init import INITIALIZERS
from orthornn.nonlinearity import NONLINEARITIES
from orthornn.retraction import RETRACTIONS


def pair(nonlinearity="tanh", **options):
    """An OrthoRNN and a torch.nn.RNN with the same weights, in float64."""
    ours = OrthoRNN(3, 5, nonlinearity=nonlinearity, dtype=torch.float64, **options)
    for name, p in ours.named_parameters():
        if name.startswith("bias"):
            nn.init.normal_(p)
    theirs = nn.RNN(3, 5, nonlinearity=nonlinearity, dtype=torch.float64, **options)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def h0_of(module, *batch):
    rows = module.num_layers * (2 if module.bidirectional else 1)
    return torch.randn(rows, *batch, 5, dtype=torch.float64)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("given_h0", [False, True])
def test_output_state_and_gradients_equal_torch(
    nonlinearity, num_layers, bidirectional, bias, batch_first, given_h0
):
    ours, theirs = pair(
        nonlinearity,
        num_layers=num_layers,
        bidirectional=bidirectional,
        bias=bias,
        batch_first=batch_first,
    )
    h0 = h0_of(ours, 2) if given_h0 else None
    x = torch.randn((2, 7, 3) if batch_first else (7, 2, 3), dtype=torch.float64)
    results = []
    for module in (ours, theirs):
        inputs = [a.clone().requires_grad_() for a in (x, h0) if a is not None]
        output, h_n = module(*inputs)
        (output.sin().sum() + h_n.cos().sum()).backward()
        weights = [p.grad for p in module.parameters()]
        results.append([output, h_n, *weights, *(a.grad for a in inputs)])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_unbatched_input_equals_torch(bidirectional):
    ours, theirs = pair(bidirectional=bidirectional)
    x = torch.randn(7, 3, dtype=torch.float64)
    for arguments in ((x,), (x, h0_of(ours))):
        torch.testing.assert_close(ours(*arguments), theirs(*arguments))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_parameters_have_torch_names_and_order_and_modrelu_adds_its_own(options):
    expected = list(nn.RNN(3, 5, **options).state_dict())
    assert list(OrthoRNN(3, 5, nonlinearity="relu", **options).state_dict()) == expected
    mine = list(OrthoRNN(3, 5, **options).state_dict())
    assert [name for name in mine if not name.startswith("modrelu_bias")] == expected
    assert len(mine) > len(expected)


@pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
def test_output_follows_the_formula(nonlinearity):
    rnn = OrthoRNN(3, 4, nonlinearity=nonlinearity, dtype=torch.float64)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    s, h = NONLINEARITIES[nonlinearity], torch.zeros(2, 4, dtype=torch.float64)
    bias = [rnn.modrelu_bias_l0] if s.has_bias else []
    for t in range(6):
        z = x[t] @ rnn.weight_ih_l0.T + h @ rnn.weight_hh_l0.T + rnn.bias_ih_l0 + rnn.bias_hh_l0
        h = s.apply(z, *bias)
    torch.testing.assert_close(rnn(x)[1][0], h)


@pytest.mark.parametrize("init", sorted(INITIALIZERS))
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_recurrent_weight_is_a_point_of_the_chosen_manifold(init, retraction):
    for module in (
        OrthoRNN(3, 6, 2, bidirectional=True, init=init, retraction=retraction),
        OrthoRNNCell(3, 6, init=init, retraction=retraction),
    ):
        points = [p for n, p in module.named_parameters() if n.startswith("weight_hh")]
        assert all(isinstance(p, geoopt.ManifoldParameter) for p in points)
        assert all(isinstance(p.manifold, Stiefel) for p in points)
        assert all(p.manifold.retraction == retraction for p in points)
        assert orthogonality_error(module) < 1e-5
        nn.init.zeros_(points[0])
        module.reset_parameters()
        assert orthogonality_error(module) < 1e-5


def test_kaiming_input_weights_and_small_modrelu_bias():
    rnn = OrthoRNN(50, 400)
    assert rnn.weight_ih_l0.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert rnn.modrelu_bias_l0.abs().max() <= 0.01
    assert rnn.bias_ih_l0.abs().max() == 0


def test_pieces_with_carried_state_equal_the_whole():
    rnn = OrthoRNN(3, 5, num_layers=2, dtype=torch.float64)
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    whole, last = rnn(x)
    first, state = rnn(x[:4])
    second, state = rnn(x[4:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole)
    torch.testing.assert_close(state, last)


def test_dropout_acts_between_layers_in_training_only():
    rnn = OrthoRNN(3, 5, num_layers=2, dropout=0.5)
    x = torch.randn(4, 2, 3)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


def test_cell_equals_one_step_of_the_layer_and_of_torch():
    rnn = OrthoRNN(3, 5, dtype=torch.float64)
    cell = OrthoRNNCell(3, 5, dtype=torch.float64)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in rnn.state_dict().items()})
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(cell(x, h), rnn(x[None], h[None])[1][0])
    torch.testing.assert_close(cell(x[0]), cell(x)[0])

    ours = OrthoRNNCell(3, 5, nonlinearity="tanh", dtype=torch.float64)
    theirs = nn.RNNCell(3, 5, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(ours(x, h), theirs(x, h))


def copies(rnn):
    file = io.BytesIO()
    torch.save(rnn.state_dict(), file)
    file.seek(0)
    loaded = OrthoRNN(3, 5)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    return copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn)), loaded


def test_copies_keep_the_manifold_and_the_values():
    rnn = OrthoRNN(3, 5)
    x = torch.randn(4, 2, 3)
    for other in copies(rnn):
        assert isinstance(other.weight_hh_l0, geoopt.ManifoldParameter)
        assert isinstance(other.weight_hh_l0.manifold, Stiefel)
        torch.testing.assert_close(other(x), rnn(x))


def test_a_weight_off_the_manifold_is_not_loaded():
    rnn = OrthoRNN(3, 5, nonlinearity="tanh")
    before = rnn.weight_hh_l0.detach().clone()
    state = nn.RNN(3, 5).state_dict()
    with pytest.raises(RuntimeError, match=r"weight_hh_l0 is not orthogonal: .*projx"):
        rnn.load_state_dict(state)
    assert torch.equal(rnn.weight_hh_l0.data, before)
    state["weight_hh_l0"] = Stiefel().projx(state["weight_hh_l0"])
    rnn.load_state_dict(state)
    torch.testing.assert_close(rnn.weight_hh_l0.data, state["weight_hh_l0"])
    with pytest.raises(RuntimeError, match="weight_hh_l0 is not orthogonal"):
        nn.Sequential(OrthoRNN(3, 5)).load_state_dict(
            {f"0.{k}": 2 * v for k, v in OrthoRNN(3, 5).state_dict().items()}
        )
    with pytest.raises(RuntimeError, match="assign=True would replace"):
        rnn.load_state_dict(state, assign=True)


def test_dtype_moves_keep_the_manifold():
    rnn = OrthoRNN(3, 5).double()
    assert isinstance(rnn.weight_hh_l0, geoopt.ManifoldParameter)
    assert rnn(torch.randn(4, 2, 3, dtype=torch.float64))[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, r"nonlinearity must be one of \[.*'modrelu'.*\], got 'gelu'",
         {"nonlinearity": "gelu"}),
        (ValueError, r"init must be one of \[.*\], got 'random'", {"init": "random"}),
        (ValueError, r"retraction must be one of \[.*\], got 'x'", {"retraction": "x"}),
        (ValueError, r"backend must be None or one of \[.*\], got 'x'", {"backend": "x"}),
        (ValueError, "hidden_size must be greater than zero, got 0", {"hidden_size": 0}),
        (ValueError, "num_layers must be greater than zero, got 0", {"num_layers": 0}),
        (ValueError, r"got \['tanh'\]", {"nonlinearity": ["tanh"]}),
        (TypeError, "hidden_size should be of type int, got: float", {"hidden_size": 2.5}),
        (ValueError, r"range \[0, 1\].*got 1.5", {"dropout": 1.5, "num_layers": 2}),
    ],
)  # fmt: skip
def test_bad_options_are_refused_at_construction(error, match, options):
    with pytest.raises(error, match=match):
        OrthoRNN(**{"input_size": 3, "hidden_size": 5, **options})


def test_dropout_without_a_second_layer_warns_as_torch_does():
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        OrthoRNN(3, 5, dropout=0.5)


@pytest.mark.parametrize(
    "arguments",
    [
        lambda d: (torch.randn(4, 2, 9, dtype=d),),
        lambda d: (torch.randn(2, 3, 4, 3, dtype=d),),
        lambda d: (torch.randn(3, dtype=d),),
        lambda d: (torch.randn(0, 2, 3, dtype=d),),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(2, 2, 5, dtype=d)),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(1, 3, 5, dtype=d)),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(2, 5, dtype=d)),
        lambda d: (torch.randn(4, 3, dtype=d), torch.randn(1, 2, 5, dtype=d)),
        lambda d: (torch.randn(4, 2, 3, dtype=torch.float32),),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(1, 2, 5)),
    ],
    ids=["features", "4D", "1D", "empty", "layers", "batch", "2D h0", "3D h0", "dtype", "h0 dtype"],
)
def test_wrong_inputs_raise_what_torch_raises(arguments):
    ours, theirs = pair()
    inputs = arguments(torch.float64)
    with pytest.raises(Exception) as expected:  # noqa: PT011
        theirs(*inputs)
    with pytest.raises(type(expected.value), match=r".+"):
        ours(*inputs)


def test_interface_of_existing_code():
    assert OrthoRNN(3, 5).flatten_parameters() is None
    assert OrthoRNNCell(3, 5, bias=False).bias_ih is None


@pytest.mark.parametrize("hx", [(1, 2, 5), (3, 5), (2, 4)], ids=str)
def test_wrong_states_of_a_cell_raise_what_torch_raises(hx):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        nn.RNNCell(3, 5)(torch.randn(2, 3), torch.randn(hx))
    with pytest.raises(type(expected.value), match=r".+"):
        OrthoRNNCell(3, 5)(torch.randn(2, 3), torch.randn(hx))


def test_packed_sequences_are_refused_by_name():
    packed = pack_sequence([torch.randn(3, 3), torch.randn(2, 3)])
    with pytest.raises(TypeError, match="PackedSequence"):
        OrthoRNN(3, 5)(packed)


def test_repr_shows_the_options():
    text = repr(OrthoRNN(3, 5, num_layers=2, init="haar"))
    assert text == (
        "OrthoRNN(3, 5, num_layers=2, nonlinearity=modrelu, init=haar, retraction=polar)"
    )
