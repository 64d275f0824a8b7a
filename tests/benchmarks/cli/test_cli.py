"""The command line: what it refuses, in one line and before anything is written."""

from types import SimpleNamespace

import pytest
from hydra.types import RunMode

from benchmarks.cli import hydra_main
from benchmarks.runs import build, train
from benchmarks.training.distributed import SINGLE
from tests.benchmarks.commandline import TINY, load

REFUSED = {
    "task.dely=3": ["dely", "delay", "variant"],
    "sed=3": ["sed", "'seed'"],
    "model=lst": ["lst", "gru", "lstm", "ortho", "rnn"],
    "logger=of": ["of", "offline", "online", "disabled"],
    "experiment=copy_1": ["copy_1", "copy_1000"],
    "task.delay=0": ["task.delay", "0"],
    "task.delay=long": ["task.delay", "integer", "long"],
    "task.delay=true": ["task.delay", "integer", "True"],
    "seed=true": ["seed", "True"],
    "task.target_loss=-1": ["target_loss", "-1"],
    "model.hidden_size=10000000": ["model"],
    "task.variant=graves": ["task.variant", "arjovsky", "exprnn", "graves"],
    "+task.length=3": ["task.length", "3"],
    "train.steps=-1": ["train.steps", "-1"],
    "train.clip_grad_norm=0": ["train.clip_grad_norm", "0"],
    "seed=-1": ["seed", "-1"],
    "seed=x": ["seed", "x"],
    "seed=../../x": ["seed", "../../x"],
    "name=a.b": ["name", "a.b"],
    "rerun=some": ["rerun", "none", "failed", "all", "some"],
    "device=tpu": ["device", "cpu", "cuda", "tpu"],
    "threads=all": ["threads", "auto", "all"],
    "parameter_budget=7": ["parameter_budget", "7"],
    "parameter_budget=null": ["parameter_budget", "model.hidden_size"],
    "model.hidden_size=0": ["hidden_size", "0"],
    "model.nonlinearity=gelu": ["nonlinearity", "modrelu", "gelu"],
    "model.init=random": ["init", "henaff", "random"],
    "model.retraction=qrr": ["retraction", "polar", "qrr"],
    "optimizer.lr=nan": ["lr", "nan"],
    "optimizer.lr_ortho=abc": ["lr_ortho", "abc"],
    "optimizer.algorithm.alpha=-1": ["alpha", "-1"],
    "task.delay=[1": ["[1"],
    "logger=null": ["NoneType"],
    "hydra.run.dir=/proc/none": ["/proc/none"],
    "model.bias=maybe": ["bias", "maybe"],
    "optimizer.algorithm.alpha=2": ["alpha", "2"],
    "network=null": ["network"],
    "train=null": ["train"],
    "threads=99999999999": ["threads", "99999999999"],
    "optimizer.lr=1e300": ["lr", "1e+300"],
    "+model.num_layers=3": ["model.num_layers", "network"],
    "model.hidden_size=true": ["model.hidden_size", "True"],
    "task.target_loss=inf": ["target_loss", "inf"],
    "task.alphabet=1": ["alphabet", "1"],
    "model.input_scale=null": ["input_scale", "None"],
    "model.input_scale=-1": ["input_scale", "-1"],
    "model.modrelu_bias=x": ["modrelu_bias", "'x'"],
    "~train": ["train"],
    "~network": ["network"],
    "~parameter_budget": ["parameter_budget"],
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("override", REFUSED)
def test_a_wrong_configuration_is_one_line_and_nothing_is_written(
    command, override, capsys, tmp_path
):
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=disabled", override)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for word in REFUSED[override]:
        assert word in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("batch_size", [10**12, 10**15])
def test_what_does_not_fit_the_memory_is_one_line_and_a_failed_run(
    command, batch_size, capsys, tmp_path
):
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=disabled", f"train.batch_size={batch_size}")
    assert stop.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "allocate" in last or "overflowed" in last
    (path,) = tmp_path.rglob("run.json")
    assert load(path.parent)[0]["status"] == "failed"


def test_other_errors_of_torch_keep_their_traceback(command, monkeypatch):
    def broken(*_):
        raise RuntimeError("expected scalar type Long but found Float")
        yield

    monkeypatch.setattr(train, "fit", broken)
    with pytest.raises(RuntimeError, match="expected scalar type"):
        command(*TINY["copy"], "logger=disabled")


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "value",
    [
        "forget_bias=inf",
        "forget_bias=true",
        "forget_bias=nan",
        "scale=-1",
        "scale=nan",
        "scale=big",
    ],
)
def test_options_of_the_baselines_are_checked(command, value, capsys, tmp_path):
    model = "lstm" if value.startswith("forget_bias") else "irnn"
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=disabled", f"model={model}", f"model.{value}")
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{value.partition('=')[0]} must be a" in line
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_whole_objects_stays_short(command, capsys):
    with pytest.raises(SystemExit):
        command(*TINY["pixels"], "logger=disabled", "task=language", name="pixels")
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert len(line) < 500
    assert line.endswith("more")


REFUSED_ELSEWHERE = {
    ("adding", "task.length=1"): ["task.length", "1"],
    ("adding", "train.evaluation_batches=null"): ["train", "evaluation_batches"],
    ("adding", "train.epochs=2"): ["train", "steps", "epochs"],
    ("pixels", "~data"): ["task"],
    ("pixels", "+task.data=3"): ["task.data"],
    ("pixels", "task=language"): ["data"],
    ("pixels", "train.epochs=inf"): ["epochs", "inf"],
    ("language", "data.path=''"): ["path", "empty"],
    ("copy", "network.tie_weights=true"): ["tie_weights", "tokens"],
    ("copy", "network.dropout=1"): ["network.dropout", "1"],
    ("copy", "network.num_layers=0"): ["network.num_layers", "0"],
    ("copy", "network.embedding_size=3"): ["embedding_size", "tokens"],
    ("language", "network.bidirectional=true"): ["network.bidirectional", "both ends"],
    ("language", "data.name=moby"): ["name", "moby", "pydoc"],
    ("language", "data.path=nowhere.txt"): ["nowhere.txt"],
    ("language", "data.level=letter"): ["level", "letter", "character"],
    ("language", "train.batch_size=10000000"): ["batch_size", "10000000"],
    ("language", "task.window=0"): ["window", "0"],
    ("language", "train.epochs=0"): ["epochs", "0"],
    ("pixels", "train.batch_size=5000"): ["batch_size", "5000"],
    ("pixels", "data.name=cifar"): ["name", "cifar", "digits"],
    ("pixels", "data.permuted=perhaps"): ["permuted", "perhaps"],
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("name", "override"), REFUSED_ELSEWHERE)
def test_what_a_task_cannot_do_is_refused_alike(command, name, override, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        command(*TINY[name], "logger=disabled", override, name=name)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    for word in REFUSED_ELSEWHERE[name, override]:
        assert word in line
    assert list(tmp_path.iterdir()) == []


def test_online_logging_without_a_key_is_refused_with_the_way_out(
    command, capsys, monkeypatch, tmp_path
):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=online")
    assert stop.value.code == 2
    assert "logger=offline" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize(
    ("mode", "launcher", "wanted", "threads"),
    [
        (RunMode.MULTIRUN, "joblib", "auto", 1),
        (RunMode.MULTIRUN, "basic", "auto", 7),
        (RunMode.RUN, "basic", "auto", 7),
        (RunMode.MULTIRUN, "joblib", 3, 3),
    ],
)
def test_jobs_side_by_side_take_one_thread_each(monkeypatch, mode, launcher, wanted, threads):
    now = SimpleNamespace(
        mode=mode,
        runtime=SimpleNamespace(choices={"hydra/launcher": launcher}, output_dir="."),
        overrides=SimpleNamespace(task=[]),
    )
    monkeypatch.setattr(hydra_main.HydraConfig, "get", lambda: now)
    monkeypatch.setattr(build, "choose_threads", lambda *_: 7)
    settings, model = SimpleNamespace(batch_size=4), SimpleNamespace(hidden_size=4)
    call = hydra_main.called()
    assert build.count_threads(wanted, call, SINGLE, settings, model) == threads
