"""OrthoRNNCell against torch.nn.RNNCell."""

import pytest
import torch
from torch import nn

from orthornn import OrthoRNN, OrthoRNNCell
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from tests.peers import every_cell, outcome


@pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
@pytest.mark.parametrize("bias", [True, False])
def test_cell_equals_one_step_of_the_layer(nonlinearity, bias):
    rnn = OrthoRNN(3, 5, nonlinearity=nonlinearity, bias=bias, dtype=torch.float64)
    cell = OrthoRNNCell(3, 5, bias, nonlinearity, dtype=torch.float64)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in rnn.state_dict().items()})
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(cell(x, h), rnn(x[None], h[None])[1][0])
    torch.testing.assert_close(cell(x[0]), cell(x)[0])


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(), (1,), (4,), (0,)], ids=str)
@pytest.mark.parametrize("given_state", [False, True])
def test_state_and_gradients_equal_torch(nonlinearity, bias, batch, given_state):
    ours = OrthoRNNCell(3, 5, bias, nonlinearity, dtype=torch.float64)
    theirs = nn.RNNCell(3, 5, bias, nonlinearity, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(*batch, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(*batch, 5, dtype=torch.float64, requires_grad=True) if given_state else None
    results = []
    for cell in (ours, theirs):
        out = cell(x, h)
        inputs = [x, *cell.parameters()] + ([h] if given_state else [])
        grads = torch.autograd.grad(out.sin().sum(), inputs, allow_unused=True)
        results.append([out, *(g for g in grads if g is not None)])
    torch.testing.assert_close(*results)


@every_cell
@pytest.mark.parametrize(
    ("error", "match", "x", "hx"),
    [
        (RuntimeError, "input has inconsistent input_size: got 4 expected 3", (2, 4), None),
        (RuntimeError, "inconsistent hidden_size: got 4, expected 5", (2, 3), (2, 4)),
        (RuntimeError, "Input batch size 2 doesn't match hidden0 batch size 3", (2, 3), (3, 5)),
        (RuntimeError, "hidden0", (2, 3), (5,)),
        (RuntimeError, "hidden0", (3,), (2, 5)),
        (ValueError, "Expected input to be 1D or 2D, got 3D instead", (1, 2, 3), None),
        (ValueError, "Expected hidden to be 1D or 2D, got 3D instead", (2, 3), (1, 2, 5)),
        (ValueError, "got 0D instead", (), None),
    ],
)
def test_wrong_shapes_are_refused(make, error, match, x, hx):
    with pytest.raises(error, match=match):
        make(3, 5)(torch.randn(x), None if hx is None else torch.randn(hx))


def test_a_state_without_a_batch_is_no_state_of_a_batch_as_large_as_it():
    with pytest.raises(RuntimeError, match=r"hidden0 of shape \(5,\)"):
        OrthoRNNCell(3, 5)(torch.randn(5, 3), torch.randn(5))


@every_cell
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bfloat16])
def test_wrong_dtypes_are_refused(make, which, dtype):
    arguments = [torch.ones(2, 3), torch.ones(2, 5)]
    arguments[which] = arguments[which].to(dtype)
    with pytest.raises(RuntimeError, match="type"):
        make(3, 5)(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [(3.5, 5), ("3", 5), (3, -1), (3,), (3, 5, True, "tanh", "nowhere"), (0, 5), (3, 0),
     (True, 5), (3, 5, 0), (3, 5, "relu")],
    ids=str,
)  # fmt: skip
def test_constructor_arguments_are_judged_as_by_torch(arguments):
    errors = [
        outcome(lambda: nn.RNNCell(*arguments)),
        outcome(lambda: OrthoRNNCell(*arguments)),
    ]
    assert type(errors[0]) is type(errors[1])


@every_cell
def test_the_state_is_made_where_the_input_is(make):
    cell, x = make(3, 5), torch.randn(2, 3)
    expected = cell(x)
    with torch.device("meta"):
        torch.testing.assert_close(cell(x), expected)


def test_unknown_options_are_refused_at_construction():
    for option in ("nonlinearity", "init", "retraction"):
        with pytest.raises(ValueError, match=rf"{option} must be one of \[.*\], got 'x'"):
            OrthoRNNCell(3, 5, **{option: "x"})


def test_interface_of_existing_code():
    assert OrthoRNNCell(3, 5, bias=False).bias_ih is None
    assert isinstance(OrthoRNNCell(3, 5), nn.RNNCellBase)
    text = "OrthoRNNCell(3, 5, bias=False, nonlinearity=modrelu, init=henaff, retraction=polar)"
    assert repr(OrthoRNNCell(3, 5, bias=False)) == text
