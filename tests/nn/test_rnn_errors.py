"""What torch.nn.RNN refuses OrthoRNN refuses, with the same exception and what was expected."""

import pytest
import torch
from torch import nn

from orthornn import OrthoRNN, ReflectionRNN, SwitchedOrthoRNN
from tests.nn.cases import every_network, every_transition
from tests.peers import every_layer, outcome, pair

BAD = {
    "input_size": [3.0, "3", 0, -1, None],
    "hidden_size": [2.5, "5", 0, -2, True, None],
    "num_layers": [0, -1, 1.5, "2", None],
    "bias": [0, 1, "True", None],
    "batch_first": [0, 1, "False", None],
    "dropout": [1.5, -0.1, float("nan"), True, "a", None],
    "nonlinearity": ["gelu", "TANH", None, 3, ["tanh"]],
    "proj_size": [0, 2],
    "device": ["nowhere"],
    "dtype": ["float32", torch.int64],
    "unknown": [1],
}


@pytest.mark.parametrize(
    ("option", "value"), [(k, v) for k, values in BAD.items() for v in values], ids=str
)
def test_a_bad_option_raises_what_torch_raises(option, value):
    options = {"input_size": 3, "hidden_size": 5, "num_layers": 2, option: value}
    expected = outcome(lambda: nn.RNN(**options))
    assert expected is not None
    with pytest.raises(type(expected)) as found:
        OrthoRNN(**options)
    assert type(found.value) is type(expected)


@pytest.mark.parametrize("option", ["bidirectional", "num_layers"])
def test_options_that_torch_takes_loosely_are_taken(option):
    assert outcome(lambda: nn.RNN(3, 5, **{option: 1})) is None
    assert OrthoRNN(3, 5, **{option: True})(torch.randn(4, 2, 3))[0].shape[:2] == (4, 2)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, r"^Unknown nonlinearity: .* one of \[.*'modrelu'.*\], got 'gelu'",
         {"nonlinearity": "gelu"}),
        (ValueError, r"init must be one of \[.*\], got 'random'", {"init": "random"}),
        (ValueError, r"retraction must be one of \[.*\], got 'x'", {"retraction": "x"}),
        (ValueError, r"backend must be None or one of \[.*\], got 'x'", {"backend": "x"}),
        (ValueError, r"backend must be None or one of \[.*\], got \['x'\]", {"backend": ["x"]}),
        (ValueError, "hidden_size must be greater than zero, got 0", {"hidden_size": 0}),
        (ValueError, "input_size must be greater than zero, got -1", {"input_size": -1}),
        (ValueError, "num_layers must be greater than zero, got 0", {"num_layers": 0}),
        (ValueError, r"got \['tanh'\]", {"nonlinearity": ["tanh"]}),
        (TypeError, "hidden_size should be of type int, got: float", {"hidden_size": 2.5}),
        (TypeError, "bias should be of type bool, got: int", {"bias": 1}),
        (ValueError, r"range \[0, 1\].*got 1.5", {"dropout": 1.5, "num_layers": 2}),
        (ValueError, "expected .*torch.float32 or torch.float64, got torch.complex64",
         {"dtype": torch.complex64}),
    ],
)  # fmt: skip
def test_the_message_names_expected_and_got(error, match, options):
    with pytest.raises(error, match=match):
        OrthoRNN(**{"input_size": 3, "hidden_size": 5, **options})


@every_transition
@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, r"backend must be None or one of \[.*\], got 'x'", {"backend": "x"}),
        (ValueError, r"backend must be None or one of \[.*\], got \['x'\]", {"backend": ["x"]}),
        (ValueError, "hidden_size must be greater than zero, got 0", {"hidden_size": 0}),
        (ValueError, "must be greater than zero, got -1", {"inputs": -1}),
        (TypeError, "hidden_size should be of type int, got: float", {"hidden_size": 2.5}),
        (TypeError, "hidden_size should be of type int, got: bool", {"hidden_size": True}),
        (TypeError, "should be of type int, got: NoneType", {"inputs": None}),
        (TypeError, "batch_first should be of type bool, got: int", {"batch_first": 1}),
        (ValueError, "got torch.complex64", {"dtype": torch.complex64}),
        (TypeError, "dtype", {"dtype": "float32"}),
        (RuntimeError, "nowhere", {"device": "nowhere"}),
        (TypeError, "unknown", {"unknown": 1}),
    ],
)  # fmt: skip
def test_a_bad_option_of_a_transition_is_named(make, error, match, options):
    with pytest.raises(error, match=match):
        make(**options)


@pytest.mark.parametrize("option", ["additive", "resets"])
@pytest.mark.parametrize("kind", [SwitchedOrthoRNN, ReflectionRNN])
def test_a_switch_that_is_no_bool_is_refused(kind, option):
    with pytest.raises(TypeError, match=f"{option} should be of type bool, got: int"):
        kind(3, 5, **{option: 1})


@every_network
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("error", "match", "batch", "state"),
    [
        (ValueError, "Expected input to be .D or .D, got .D", (2, 3, 4), None),
        (ValueError, "Expected input to be .D or .D, got .D", (), None),
        (RuntimeError, "sequence length to be larger than 0 in RNN, got 0", (0, 0), None),
        (RuntimeError, "sequence length to be larger than 0 in RNN, got 0", (0,), None),
        (RuntimeError, r"Expected hidden size \(1, 2, 5\), got \[2, 2, 5\]", (2, 2), (2, 2, 5)),
        (RuntimeError, r"Expected hidden size \(1, 2, 5\), got \[1, 3, 5\]", (2, 2), (1, 3, 5)),
        (RuntimeError, r"Expected hidden size \(1, 2, 5\), got \[1, 2, 4\]", (2, 2), (1, 2, 4)),
        (RuntimeError, "Expected hidden size|2-D tensor", (2, 2), (2, 5)),
        (RuntimeError, "Expected hidden size|3-D tensor", (4,), (1, 2, 5)),
        (RuntimeError, "Expected hidden size", (4,), (2, 5)),
    ],
)  # fmt: skip
def test_wrong_shapes_are_refused_by_every_network(make, batch_first, error, match, batch, state):
    module = make(3, 5, batch_first=batch_first)
    with pytest.raises(error, match=match):
        module(make.draw(*batch), None if state is None else torch.randn(state))


@every_transition
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_a_state_of_another_dtype_is_refused(make, dtype):
    expected = f"hx must have the type torch.float32, got type {dtype}"
    with pytest.raises(RuntimeError, match=expected):
        make(3, 5)(make.draw(4, 2), torch.ones(1, 2, 5, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_reflection_refuses_the_dtypes_that_torch_does(dtype, autocast):
    results = []
    for module in (nn.RNN(3, 5), ReflectionRNN(3, 5)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            results.append(outcome(lambda module=module: module(torch.ones(4, 2, 3, dtype=dtype))))
    assert type(results[0]) is type(results[1])


def test_features_of_another_number_are_refused():
    with pytest.raises(RuntimeError, match="Expected 3, got 4"):
        ReflectionRNN(3, 5)(torch.randn(4, 2, 4))


@every_layer
def test_dropout_without_a_second_layer_warns(make):
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        make(3, 5, dropout=0.5)


@every_layer
def test_positional_arguments_have_torch_s_order(make):
    nonlinearity = make(3, 5).nonlinearity
    module = make(3, 5, 2, nonlinearity, False, True, 0.5, True)
    assert [module.num_layers, module.bias, module.batch_first] == [2, False, True]
    assert [module.dropout, module.bidirectional] == [0.5, True]


@pytest.mark.parametrize(
    "arguments",
    [
        lambda d: (torch.randn(4, 2, 9, dtype=d),),
        lambda d: (torch.randn(2, 3, 4, 3, dtype=d),),
        lambda d: (torch.randn(3, dtype=d),),
        lambda d: (torch.tensor(1.0, dtype=d),),
        lambda d: (torch.randn(0, 2, 3, dtype=d),),
        lambda d: (torch.randn(0, 3, dtype=d),),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(2, 2, 5, dtype=d)),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(1, 3, 5, dtype=d)),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(1, 2, 4, dtype=d)),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(2, 5, dtype=d)),
        lambda d: (torch.randn(4, 3, dtype=d), torch.randn(1, 2, 5, dtype=d)),
        lambda d: (torch.randn(4, 3, dtype=d), torch.randn(2, 5, dtype=d)),
        lambda d: (torch.randn(4, 2, 3, dtype=torch.float32),),
        lambda d: (torch.ones(4, 2, 3, dtype=torch.int64),),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(1, 2, 5)),
        lambda d: (torch.randn(4, 2, 3, dtype=d, device="meta"),),
        lambda d: (torch.randn(4, 2, 3, dtype=d), torch.randn(1, 2, 5, dtype=d, device="meta")),
        lambda d: ([[[1.0]]],),
        lambda d: (None,),
        lambda d: (torch.randn(4, 2, 3, dtype=d), (torch.randn(1, 2, 5, dtype=d),)),
        lambda d: (),
    ],
    ids=[
        "features", "4D", "1D", "0D", "T = 0", "T = 0 unbatched", "layers", "batch", "hidden",
        "2D h0", "3D h0", "layers unbatched", "dtype", "integers", "h0 dtype", "device",
        "h0 device", "list", "None", "tuple", "nothing",
    ],
)  # fmt: skip
def test_wrong_inputs_raise_what_torch_raises(arguments):
    ours, theirs = pair()
    inputs = arguments(torch.float64)
    expected = outcome(lambda: theirs(*inputs))
    assert expected is not None
    with pytest.raises(type(expected)) as found:
        ours(*inputs)
    assert type(found.value) is type(expected)
    assert str(found.value)


@every_network
@pytest.mark.parametrize("moved", [0, 1])
def test_the_tensor_on_another_device_is_named(make, moved):
    inputs = [make.draw(4, 2), torch.randn(1, 2, 5)]
    inputs[moved] = inputs[moved].to("meta")
    pattern = ["Input and parameter tensors", "Input and hidden tensors"][moved]
    with pytest.raises(RuntimeError, match=f"{pattern} are not at the same device"):
        make(3, 5)(*inputs[: moved + 1])


@pytest.mark.parametrize("batch_first", [False, True])
def test_batch_first_moves_the_axis_that_is_checked(batch_first):
    for ours in pair(batch_first=batch_first):
        x = torch.randn(4, 2, 3, dtype=torch.float64)
        batch = 4 if batch_first else 2
        with pytest.raises(RuntimeError, match=rf"Expected hidden size \(1, {batch}, 5\)"):
            ours(x, torch.randn(1, 6 - batch, 5, dtype=torch.float64))
        with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
            ours(x[:, :0] if batch_first else x[:0])
