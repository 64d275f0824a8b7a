from importlib import import_module

import pytest
import torch
from omegaconf import OmegaConf
from pydantic import ValidationError
from torch import nn

from benchmarks import models
from benchmarks.config.compose import CONF, compose
from benchmarks.models import Network, SequenceModel, assemble
from orthornn import OrthoRNN

NAMES = [
    "rnn",
    "irnn",
    "lstm",
    "gru",
    "ortho",
    "ortho_soft",
    "ortho_free",
    "exprnn",
    "dtriv",
    "scornn",
    "householder",
]
ONE_LAYER = ["lru", "mingru"]
OF_TOKENS = ["reflections", "switched", "switched_free", "switched_normalized"]
OF_TOKENS += ["switched_resets"]
every = pytest.mark.parametrize("name", NAMES)


def build(name, network=None, hidden_size=6, **facts):
    facts = {"input_size": 10, "output_size": 9, **facts}
    make = getattr(models, name)
    return assemble(make, network or Network(), hidden_size=hidden_size, **facts)


def detached(state):
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


@every
def test_model_answers_at_every_step_and_returns_its_state(name):
    output, state = build(name, Network(num_layers=2, bidirectional=True))(torch.randn(7, 2, 10))
    assert output.shape == (7, 2, 9)
    parts = state if name == "lstm" else (state,)
    assert [s.shape for s in parts] == [(4, 2, 6)] * len(parts)


@every
def test_single_answer_is_read_where_each_direction_has_seen_everything(name):
    x = torch.randn(7, 2, 10)
    model = build(name, Network(num_layers=2, bidirectional=True), sequence_level=True)
    output, _ = model(x)
    state = model.core(x)[1]
    finals = state[0] if name == "lstm" else state
    expected = model.readout(torch.cat([finals[-2], finals[-1]], -1))
    assert output.shape == (2, 9)
    torch.testing.assert_close(output, expected)


@every
def test_single_answer_of_one_direction_is_the_last_output(name):
    x = torch.randn(7, 2, 10)
    model = build(name, sequence_level=True)
    torch.testing.assert_close(model(x)[0], model.readout(model.core(x)[0][-1]))


@every
def test_two_halves_with_the_state_carried_are_the_whole(name):
    model = build(name, Network(num_layers=2)).double()
    x = torch.randn(8, 3, 10, dtype=torch.float64)
    whole, last = model(x)
    first, state = model(x[:5])
    second, end = model(x[5:], detached(state))
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)
    assert not torch.allclose(model(x[5:])[0], second)


@every
def test_tokens_are_embedded(name):
    facts = {"input_size": 11, "output_size": 5, "tokens": True}
    model = build(name, Network(embedding_size=4), **facts)
    x = torch.randint(11, (7, 2))
    assert model.embedding.weight.shape == (11, 4)
    expected = model.readout(model.core(model.embedding(x))[0])
    torch.testing.assert_close(model(x)[0], expected)
    assert build(name, **facts).embedding.weight.shape == (11, 6)


@every
@pytest.mark.parametrize("bidirectional", [False, True])
def test_tied_readout_is_the_embedding(name, bidirectional):
    network = Network(bidirectional=bidirectional, embedding_size=4, tie_weights=True)
    model = build(name, network, input_size=11, output_size=11, tokens=True)
    assert model.readout.weight is model.embedding.weight
    assert model.projection.weight.shape == (4, 12 if bidirectional else 6)
    assert model.projection.bias is None
    output, _ = model(torch.randint(11, (7, 2)))
    assert output.shape == (7, 2, 11)


def test_tied_readout_of_the_same_width_needs_no_projection():
    model = build("gru", Network(tie_weights=True), input_size=11, output_size=11, tokens=True)
    assert model.projection is None
    assert model(torch.randint(11, (7, 2)))[0].shape == (7, 2, 11)


def test_tied_weight_starts_as_a_readout():
    model = build(
        "gru", Network(tie_weights=True), 400, input_size=300, output_size=300, tokens=True
    )
    assert model.embedding.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("network", "facts", "message"),
    [
        (
            Network(checkpoint_steps=2, bidirectional=True),
            {},
            "checkpoint_steps needs a network that reads in one",
        ),
        (Network(tie_weights=True), {}, "tie_weights=True needs a task whose input is tokens"),
        (Network(tie_weights=True), {"tokens": True}, "output_size=9 and input_size=10"),
        (Network(embedding_size=3), {}, "embedding_size=3 needs a task whose input is tokens"),
    ],
)
def test_shape_that_does_not_fit_the_task_is_refused(network, facts, message):
    with pytest.raises(ValueError, match=message):
        build("rnn", network, **facts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_layers": 0},
        {"num_layers": 2.0},
        {"bidirectional": "yes"},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"embedding_size": 0},
        {"layers": 2},
        {"checkpoint_steps": 0},
    ],
)
def test_network_out_of_range_is_refused(wrong):
    with pytest.raises(ValidationError):
        Network(**wrong)


PLAIN = sorted(set(NAMES) - {"exprnn", "dtriv", "scornn", "householder"})


@pytest.mark.parametrize("sequence_level", [False, True])
@pytest.mark.parametrize("name", PLAIN)
def test_segments_change_no_answer_and_no_gradient(name, sequence_level):
    whole = build(name, Network(num_layers=2), sequence_level=sequence_level).double()
    parts = build(
        name, Network(num_layers=2, checkpoint_steps=4), sequence_level=sequence_level
    ).double()
    parts.load_state_dict(whole.state_dict())
    x, found = torch.randn(10, 3, 10, dtype=torch.float64), []
    for model in (whole, parts):
        output, state = model(x)
        output.square().sum().backward()
        found.append((output, state, {n: p.grad for n, p in model.named_parameters()}))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(PLAIN)))
def test_segments_are_refused_where_each_would_make_the_weight_anew(name):
    with pytest.raises(
        ValueError, match="checkpoint_steps needs a model whose weights are its parameters"
    ):
        build(name, Network(checkpoint_steps=4))


@every
@pytest.mark.parametrize("num_layers", [1, 2])
def test_dropout_acts_in_training_only(name, num_layers):
    model = build(name, Network(num_layers=num_layers, dropout=0.5), hidden_size=20)
    x = torch.randn(7, 2, 10)
    assert not torch.equal(model.train()(x)[0], model(x)[0])
    between_layers = not torch.equal(model.core(x)[0], model.core(x)[0])
    assert between_layers == (num_layers == 2)
    model.eval()
    assert torch.equal(model(x)[0], model(x)[0])


def test_dropout_falls_on_the_embedding_and_before_the_readout():
    facts = {"input_size": 11, "output_size": 5, "tokens": True}
    model = build("gru", Network(dropout=0.5), hidden_size=50, **facts)
    seen = []
    model.core.register_forward_hook(lambda core, inputs, output: seen.append(inputs[0]))
    model.readout.register_forward_pre_hook(lambda readout, inputs: seen.append(inputs[0]))
    model(torch.randint(11, (7, 2)))
    shares = [(x == 0).double().mean().item() for x in seen]
    assert shares == pytest.approx([0.5, 0.5], abs=0.1)


@every
def test_every_model_has_the_same_readout(name):
    model = build(name, hidden_size=400)
    assert model.readout.bias.abs().max() == 0
    assert model.readout.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.1)


CORES = {
    "ortho": lambda: OrthoRNN(10, 6, bias=False),
    "rnn": lambda: nn.RNN(10, 6),
    "lstm": lambda: nn.LSTM(10, 6),
    "gru": lambda: nn.GRU(10, 6),
}


@pytest.mark.parametrize("name", CORES)
def test_draws_come_in_the_order_core_then_readout(name):
    torch.manual_seed(7)
    model = build(name)
    following = torch.rand(3)
    torch.manual_seed(7)
    core, readout = CORES[name](), nn.Linear(6, 9)
    nn.init.kaiming_normal_(readout.weight)
    assert torch.equal(torch.rand(3), following)
    assert torch.equal(readout.weight, model.readout.weight)
    for key, p in core.named_parameters():
        if not (name == "lstm" and key.startswith("bias")):
            assert torch.equal(p, model.core.get_parameter(key))


@pytest.mark.parametrize("network", [Network(), Network(num_layers=2, bidirectional=True)])
def test_forget_gates_start_at_the_given_bias(network):
    core = models.lstm(3, 4, network.num_layers, network.bidirectional, forget_bias=2.0)
    suffixes = {n.removeprefix("bias_ih") for n, _ in core.named_parameters() if "bias_ih" in n}
    assert len(suffixes) == (4 if network.bidirectional else 1)
    for suffix in suffixes:
        total = core.get_parameter(f"bias_ih{suffix}") + core.get_parameter(f"bias_hh{suffix}")
        torch.testing.assert_close(total[4:8], torch.full((4,), 2.0))
        assert ((total[:4] != 0) & (total[:4].abs() < 1.1)).all()


def test_irnn_starts_as_a_sum_of_small_inputs():
    core = models.irnn(50, 40, num_layers=2, bidirectional=True, scale=0.5)
    assert core.nonlinearity == "relu"
    for name, p in core.named_parameters():
        if name.startswith("weight_hh"):
            assert torch.equal(p, 0.5 * torch.eye(40))
        elif name.startswith("weight_ih"):
            assert p.std().item() == pytest.approx(0.001, rel=0.1)
        else:
            assert p.abs().max() == 0


def test_only_a_soft_constraint_adds_a_penalty():
    assert {name for name in NAMES if build(name).penalty() is not None} == {"ortho_soft"}


@pytest.mark.parametrize("name", [*NAMES, *ONE_LAYER])
def test_configuration_names_every_option_of_its_builder(name):
    leaf = OmegaConf.to_container(compose("copy", [f"model={name}"]).model, resolve=True)
    module, _, target = leaf.pop("_target_").rpartition(".")
    assert leaf.pop("_partial_") is True
    assert leaf.pop("hidden_size") is None
    core = getattr(import_module(module), target)(10, 6, **leaf)
    model = SequenceModel(core, input_size=10, output_size=9, hidden_size=6, features=6)
    assert model(torch.randn(3, 2, 10))[0].shape == (3, 2, 9)


def test_every_builder_has_a_configuration():
    files = {path.stem for path in (CONF / "model").glob("*.yaml")}
    assert files == set(models.MODELS) == {*NAMES, *ONE_LAYER, *OF_TOKENS}
