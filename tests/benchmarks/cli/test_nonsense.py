"""Overrides that make no sense: refused in one line with key and value, nothing being written."""

import pytest
import torch

from benchmarks.system import ram
from tests.benchmarks.commandline import TINY

# (benchmark, overrides): words of the refusal
NONSENSE = {
    ("copy", "task.delay=1000000000000"): ["task.delay", "1000000000000"],
    ("copy", "task.symbols=-3"): ["task.symbols", "-3"],
    ("copy", "task.alphabet=1.5"): ["task.alphabet", "1.5"],
    ("copy", "train.batch_size=0"): ["train.batch_size", "0"],
    ("copy", "train.steps=1e400"): ["train.steps", "inf"],
    ("copy", "train.decay_fraction=2"): ["train.decay_fraction", "2"],
    ("copy", "train.checkpoint_every=0"): ["train.checkpoint_every", "0"],
    ("copy", "+train.foo=1"): ["train.foo", "1"],
    ("copy", "optimizer.lr=0"): ["lr", "0"],
    ("copy", "optimizer.lr_ortho=-1e-3"): ["lr_ortho", "-0.001"],
    ("copy", "optimizer.lr_modrelu=-1e-3"): ["lr_modrelu", "-0.001"],
    ("copy", "~optimizer.lr_ortho"): ["optimizer.lr_ortho"],
    ("copy", "optimizer.algorithm.momentum=5"): ["optimizer.algorithm.momentum", "5"],
    ("copy", "optimizer.algorithm.alpha=1"): ["optimizer.algorithm.alpha", "1"],
    ("copy", "optimizer.algorithm.rows=1.5"): ["optimizer.algorithm.rows", "1.5"],
    ("copy", "optimizer.algorithm.adaptivity=row"): ["optimizer.algorithm.adaptivity", "row"],
    ("copy", "+optimizer.algorithm.eps=0"): ["optimizer.algorithm.eps", "0"],
    ("copy", "+optimizer.algorithm.weight_decay=-1"): ["optimizer.algorithm.weight_decay", "-1"],
    ("copy", "+optimizer.algorithm.capturable=true"): ["optimizer.algorithm.capturable", "True"],
    ("copy", "+optimizer.algorithm.foo=1"): ["optimizer.algorithm.foo=1", "momentum"],
    ("copy", "optimizer.algorithm=null"): ["optimizer.algorithm", "None"],
    ("copy", "optimizer=adam optimizer.algorithm.betas=[0.9,1]"): ["algorithm.betas", "1"],
    ("copy", "optimizer=adam optimizer.algorithm.betas=0.9"): ["algorithm.betas", "0.9"],
    ("copy", "optimizer=sgd optimizer.algorithm.momentum=abc"): ["momentum", "abc"],
    ("copy", "model=lstm optimizer.algorithm.rows=0.25"): ["optimizer.algorithm.rows", "0.25"],
    ("copy", "model=exprnn optimizer.algorithm.adaptivity=scalar"): ["adaptivity", "scalar"],
    ("copy", "+model.foo=1"): ["model.foo=1", "retraction"],
    ("copy", "model=lstm orthogonal.init=x"): ["orthogonal.init", "'x'", "henaff"],
    ("copy", "model=lstm orthogonal.input_scale=0"): ["orthogonal.input_scale", "0"],
    ("copy", "model=lstm orthogonal.modrelu_bias=x"): ["orthogonal.modrelu_bias", "'x'"],
    ("copy", "orthogonal.modrelu_bias=1e39"): ["orthogonal.modrelu_bias", "1e+39"],
    ("copy", "orthogonal.input_scale=1e39"): ["orthogonal.input_scale", "1e+39"],
    ("copy", "+orthogonal.foo=1"): ["orthogonal.foo=1", "input_scale"],
    ("copy", "+foo=1"): ["foo=1", "a key of the configuration", "parameter_budget", "'train'"],
    ("copy", "+data.foo=1"): ["data", "foo", "1"],
    ("copy", "+paramter_budget=1"): ["paramter_budget=1", "did you mean 'parameter_budget'?"],
    ("copy", "name=../x"): ["name", "../x"],
    ("copy", "name=''"): ["name", "''"],
    ("copy", f"name='{70 * 'é'}'"): ["name", "60", "é"],
    ("copy", "seed=" + 30 * "9"): ["seed", "999999"],
    ("copy", f"seed='{90 * 'é'}'"): ["seed", "é"],
    ("copy", "parameter_budget=-5"): ["parameter_budget", "-5"],
    ("copy", "parameter_budget=10000000000000"): ["model", "allocate"],
    ("copy", "model.hidden_size=10000000"): ["model", "allocate"],
    ("copy", "network.num_layers=1000000000"): ["network.num_layers", "1000000000"],
    ("copy", "threads=0"): ["threads", "0"],
    ("copy", "train._target_=benchmarks.models.Network"): ["train"],
    ("adding", "task.length=-1"): ["task.length", "-1"],
    ("pixels", "data.permuted=1"): ["permuted", "1"],
    ("pixels", "data.name=[]"): ["name", "[]"],
    ("language", "+data.least=-5"): ["least", "-5"],
    ("language", "+data.vocabulary=5"): ["vocabulary", "5"],
    ("language", "data.path=3"): ["path", "3"],
    ("language", "data.path=" + 300 * "x"): ["path", "xxx"],
    ("language", "network.embedding_size=10000000"): ["network.embedding_size", "10000000"],
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("name", "overrides"), NONSENSE)
def test_nonsense_is_one_line_with_key_and_value_and_nothing_is_written(
    command, name, overrides, capsys, tmp_path
):
    with pytest.raises(SystemExit) as stop:
        command(*TINY[name], "logger=disabled", *overrides.split(), name=name)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for word in NONSENSE[name, overrides]:
        assert word in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "override",
    ["train.batch_size=0,-1", "model=lst,ortho", "task.dely=3,4", "name=../x", "name=../x,../y"],
)
def test_a_sweep_of_nothing_but_nonsense_leaves_nothing(command, override, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        command("-m", *TINY["copy"], "logger=disabled", override)
    assert stop.value.code == 2
    printed = capsys.readouterr().err.splitlines()
    assert all(line.startswith(("error: ", "run ", "Error executing")) for line in printed)
    assert list(tmp_path.iterdir()) == []
    assert not [path for path in tmp_path.parent.iterdir() if path.name in ("x", "y")]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "override",
    ["threads=0", "device=tpu", "train.checkpoint_every=0", "+foo=1", "orthogonal.init=x"],
)
def test_a_run_that_is_finished_is_checked_all_the_same(command, override, capsys):
    options = [*TINY["copy"], "logger=disabled", "model=gru"]
    command(*options)
    with pytest.raises(SystemExit) as stop:
        command(*options, override)
    assert stop.value.code == 2
    assert override.strip("+").partition("=")[0] in capsys.readouterr().err


def test_memory_is_that_of_the_machine_or_less_within_a_limit(tmp_path, monkeypatch):
    whole = ram.total_memory(torch.device("cpu"))
    assert whole > 2**28
    (tmp_path / "limit").write_text("max\n")
    monkeypatch.setattr(ram, "CGROUP", tmp_path / "limit")
    unlimited = ram.total_memory(torch.device("cpu"))
    assert unlimited >= whole
    (tmp_path / "limit").write_text("1000\n")
    assert ram.total_memory(torch.device("cpu")) == 1000
