"""A file of a run may come from anybody: what its configuration names is not called for that."""

import os
import types

import pytest
import torch
import yaml

from benchmarks import generate, models
from benchmarks.config.errors import ConfigError
from benchmarks.runs import trust
from benchmarks.runs.build import Interface
from benchmarks.runs.saved_model import load_model
from benchmarks.runs.trust import OURS, check_saved
from tests.benchmarks.commandline import CONF, options


def test_every_model_of_the_configurations_is_known():
    assert {f"benchmarks.models.{name}" for name in ("Network", *options("model"))} == OURS
    assert not any(isinstance(getattr(models, name), types.ModuleType) for name in models.__all__)


HOSTILE = {
    "a command": {"_target_": "os.system", "command": "touch MARK"},
    "a module that we import": {
        "_target_": "benchmarks.runs.metadata.os.system",
        "command": "touch MARK",
    },
    "a model's own imports": {"_target_": "benchmarks.models.elman.torch.load", "f": "MARK"},
    "a model's attribute": {"_target_": "benchmarks.models.ortho.__globals__"},
    "another callable of ours": {"_target_": "benchmarks.models.largest_hidden_size"},
    "hydra": {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.getcwd"}},
    "no text": {"_target_": 3},
    "a list": {"_target_": ["os.system"]},
    "a nested one": {"_target_": "benchmarks.models.lstm", "forget_bias": {"_target_": "os.abort"}},
    "one in a list": {"_target_": "benchmarks.models.lstm", "x": [{"_target_": "os.abort"}]},
    "positional": {"_target_": "benchmarks.models.lstm", "_args_": ["MARK"]},
    "converted": {"_target_": "benchmarks.models.lstm", "_convert_": "all"},
    "an interpolation": {"_target_": "benchmarks.models.rnn", "nonlinearity": "${oc.env:SECRET}"},
    "of ours": {"_target_": "benchmarks.models.rnn", "nonlinearity": "${run_name:}"},
    "in a target": {"_target_": "${oc.env:SECRET}"},
    "in a key": {"_target_": "benchmarks.models.rnn", "${oc.env:SECRET}": 1},
    "a dotted key": {"_target_": "benchmarks.models.rnn", "a.b": 1},
    "bytes": {"_target_": "benchmarks.models.rnn", "nonlinearity": b"tanh"},
    "a tensor": {"_target_": "benchmarks.models.rnn", "nonlinearity": torch.zeros(2)},
}


def deep(levels):
    node = {}
    for _ in range(levels):
        node = {"a": node}
    return node


@pytest.fixture(scope="module")
def content():
    """What best.pt of a small language model holds."""
    torch.manual_seed(0)
    symbols = tuple("\nabc")
    model = models.assemble(
        models.lstm, models.Network(), hidden_size=3, input_size=4, output_size=4, tokens=True
    )
    network = {"_target_": "benchmarks.models.Network", "num_layers": 1}
    core = {"_target_": "benchmarks.models.lstm", "_partial_": True, "hidden_size": None}
    faces = (4, 4, True, False, True, symbols, "character")
    return {
        "model": model.state_dict(),
        "hidden_size": 3,
        "interface": dict(zip(Interface.__dataclass_fields__, faces, strict=True)),
        "config": {"model": core, "network": network},
        "step": 1,
    }


@pytest.fixture
def load(content, tmp_path, monkeypatch):
    """Load a model from a file with the content, some of it replaced."""

    def call(trusted=(), **replaced):
        held = content | replaced
        monkeypatch.setattr("benchmarks.runs.checkpoints.read_file", lambda path: held)
        (tmp_path / "best.pt").write_bytes(b"as the checkpoint is read")
        return load_model(tmp_path / "best.pt", trusted)

    return call


def test_the_file_of_a_run_is_loaded(load):
    model, interface = load()
    assert isinstance(model.core, torch.nn.LSTM)
    assert interface.symbols == tuple("\nabc")


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("place", ["model", "network"])
def test_what_it_names_beside_models_is_refused_and_not_called(
    case, place, load, content, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "a-secret")
    called = []
    monkeypatch.setattr(os, "system", called.append)
    with pytest.raises(ConfigError, match=r"best\.pt\.") as refusal:
        load(config=content["config"] | {place: HOSTILE[case]})
    assert "\n" not in str(refusal.value)
    assert "a-secret" not in str(refusal.value)
    assert called == []
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_depth_is_bounded():
    check_saved(deep(trust.DEEPEST))
    with pytest.raises(ConfigError, match="deeper"):
        check_saved(deep(100_000))


def test_what_the_user_trusts_by_name_is_called(load, content):
    own = {"_target_": "torch.nn.LSTM", "_partial_": True}
    config = content["config"] | {"model": own}
    with pytest.raises(ConfigError, match=r"trust=torch\.nn\.LSTM"):
        load(config=config)
    model, _ = load(["torch.nn.LSTM"], config=config)
    assert type(model.core) is torch.nn.LSTM


def test_the_word_of_trust_reaches_the_file(load, content, tmp_path, capsys):
    own = {"_target_": "torch.nn.LSTM", "_partial_": True}
    with pytest.raises(ConfigError):
        load(config=content["config"] | {"model": own})
    assert generate.main([f"run={tmp_path}", "length=3"]) == 2
    assert generate.main([f"run={tmp_path}", "length=3", "trust=a.B,torch.nn.LSTM"]) == 0
    assert capsys.readouterr().err.count("error: ") == 1


@pytest.mark.parametrize("name", options("model"))
def test_the_models_of_the_configurations_may_be_named(name):
    leaf = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert leaf["_target_"] in OURS


@pytest.mark.parametrize(
    "replaced",
    [
        {"hidden_size": "3"},
        {"hidden_size": 0},
        {"hidden_size": 10**12},
        {"hidden_size": True},
        {"hidden_size": 4},
        {"model": "weights"},
        {"model": {}},
        {"model": {"readout.bias": 3}},
        {"config": None},
        {"config": []},
        {"config": {}},
        {"interface": None},
        {"interface": {"input_size": 4}},
        {"interface.input_size": 0},
        {"interface.input_size": 10**12},
        {"interface.output_size": 3},
        {"interface.tokens": False},
        {"interface.level": "letter"},
        {"interface.level": "word"},
        {"interface.symbols": (1, 2, 3, 4)},
        {"interface.symbols": ("a", "b", "c", "cd")},
        {"interface.symbols": ("a", "b", "c", "c")},
        {"interface.more": 1},
    ],
    ids=str,
)
def test_a_file_that_holds_no_model_is_refused(replaced, load, content):
    ((key, value),) = replaced.items()
    head, _, tail = key.partition(".")
    with pytest.raises(ConfigError) as refusal:
        load(**{head: content[head] | {tail: value} if tail else value})
    assert "\n" not in str(refusal.value)


def test_weights_that_are_not_finite_write_nothing(load, content, tmp_path, capsys):
    load(model={name: value.fill_(torch.nan) for name, value in content["model"].items()})
    assert generate.main([f"run={tmp_path}", "length=3"]) == 2
    assert "not finite" in capsys.readouterr().err
