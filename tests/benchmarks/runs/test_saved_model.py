"""A file of a run may come from anybody: it names a model and calls nothing."""

import os
import types

import pytest
import torch
import yaml

from benchmarks import generate, models
from benchmarks.config.errors import ConfigError
from benchmarks.models import MODELS
from benchmarks.runs.build import TaskSpec
from benchmarks.runs.saved_model import load_model
from tests.benchmarks.commandline import CONF, TINY, options


def test_every_model_of_the_configurations_has_a_row():
    assert sorted(MODELS) == sorted(options("model"))
    assert not any(isinstance(getattr(models, name), types.ModuleType) for name in models.__all__)


@pytest.mark.parametrize("name", options("model"))
def test_a_row_is_what_the_configuration_calls(name):
    leaf = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert leaf["_target_"] == f"benchmarks.models.{name}"
    assert MODELS[name] is getattr(models, name)


# what a file of before, which holds targets, may hold
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


@pytest.fixture(scope="module")
def content():
    """What best.pt of a small language model holds."""
    torch.manual_seed(0)
    symbols = tuple("\nabc")
    model = models.assemble(
        models.lstm, models.Network(), hidden_size=3, input_size=4, output_size=4, tokens=True
    )
    faces = (4, 4, True, False, True, symbols, "character")
    return {
        "model": model.state_dict(),
        "core": {"name": "lstm", "options": {"forget_bias": 1.0}},
        "network": {"num_layers": 1},
        "hidden_size": 3,
        "interface": dict(zip(TaskSpec.__dataclass_fields__, faces, strict=True)),
        "step": 1,
    }


@pytest.fixture(scope="module")
def former(content):
    """The same as it was written before, with targets."""
    network = {"_target_": "benchmarks.models.Network", "num_layers": 1}
    core = {"_target_": "benchmarks.models.lstm", "_partial_": True, "hidden_size": None}
    faces = dict(content["interface"])
    faces["single_answer"] = faces.pop("sequence_level")
    kept = {key: content[key] for key in ("model", "hidden_size", "step")}
    return {**kept, "interface": faces, "config": {"seed": 0, "model": core, "network": network}}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a model from a file with a content, some of it replaced."""

    def call(content, **replaced):
        held = content | replaced
        monkeypatch.setattr("benchmarks.runs.checkpoints.read_file", lambda path: held)
        (tmp_path / "best.pt").write_bytes(b"as the checkpoint is read")
        return load_model(tmp_path / "best.pt")

    return call


def test_a_file_of_today_and_one_of_before_are_the_same_model(load, content, former):
    tokens = torch.tensor([[1], [2], [0]])
    answers = []
    for each in (content, former):
        model, interface = load(each)
        assert isinstance(model.core, torch.nn.LSTM)
        assert interface.symbols == tuple("\nabc")
        assert not interface.sequence_level
        answers.append(model(tokens)[0])
    assert torch.equal(*answers)


def test_what_is_written_holds_names_alone_and_comes_back(command):
    (folder,) = command(*TINY["language"], "logger=disabled", name="language")
    saved = torch.load(folder / "best.pt", weights_only=True)
    assert saved["core"]["name"] == "ortho"
    assert saved["core"]["options"]["retraction"] == "polar"
    assert "_target_" not in str({k: v for k, v in saved.items() if k != "model"})
    model, _ = load_model(folder / "best.pt")
    assert all(torch.equal(saved["model"][k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("place", ["model", "network"])
def test_what_it_names_beside_models_is_refused_and_not_called(
    case, place, load, former, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "a-secret")
    called = []
    monkeypatch.setattr(os, "system", called.append)
    with pytest.raises(ConfigError, match=r"best\.pt") as refusal:
        load(former, config=former["config"] | {place: HOSTILE[case]})
    assert "\n" not in str(refusal.value)
    assert "a-secret" not in str(refusal.value)
    assert called == []
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("name", ["os.system", "UnconstrainedRNN", "assemble", 3, None, ["ortho"]])
def test_a_name_without_a_row_is_refused(name, load, content):
    with pytest.raises(ConfigError, match=r"must be one of \['dtriv', .* got ") as refusal:
        load(content, core={"name": name, "options": {}})
    assert "\n" not in str(refusal.value)


def test_a_class_of_your_own_is_loaded_once_it_has_a_row(
    load, content, former, tmp_path, monkeypatch, capsys
):
    own = {"_target_": "torch.nn.LSTM", "_partial_": True}
    core = {"name": "torch.nn.LSTM", "options": {}}
    for each in (content | {"core": core}, former | {"config": former["config"] | {"model": own}}):
        with pytest.raises(ConfigError, match=r"needs a row in benchmarks\.models\.MODELS"):
            load(each)
        assert generate.main([f"run={tmp_path}", "length=3"]) == 2
        with monkeypatch.context() as patch:
            patch.setitem(MODELS, "torch.nn.LSTM", torch.nn.LSTM)
            assert type(load(each)[0].core) is torch.nn.LSTM
            assert generate.main([f"run={tmp_path}", "length=3"]) == 0
    assert capsys.readouterr().err.count("error: ") == 2


def test_the_word_trust_is_refused_with_what_to_do(tmp_path, capsys):
    assert generate.main([f"run={tmp_path}", "trust=torch.nn.LSTM"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "register a class of your own in benchmarks.models.MODELS" in line


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
        {"core": None},
        {"core": []},
        {"core": {}},
        {"core.options": [1]},
        {"core.options": {"hidden": 3}},
        {"core.options": {3: 3}},
        {"core.options": {"forget_bias": "one"}},
        {"network": None},
        {"network.num_layers": 2},
        {"network.layers": 2},
        {"network.bidirectional": True},
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
        load(content, **{head: content[head] | {tail: value} if tail else value})
    assert "\n" not in str(refusal.value)


def test_weights_that_are_not_finite_write_nothing(load, content, tmp_path, capsys):
    load(content, model={name: value.fill_(torch.nan) for name, value in content["model"].items()})
    assert generate.main([f"run={tmp_path}", "length=3"]) == 2
    assert "not finite" in capsys.readouterr().err
