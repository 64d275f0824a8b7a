"""The command line: what it accepts, writes and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from hydra.types import RunMode

from benchmarks import run

CONF = Path(run.CONF)
TINY = ["task.delay=5", "train.steps=3", "train.batch_size=4", "budget=500", "threads=1"]


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run ``python -m benchmarks.copy ...`` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("WANDB_SILENT", "true")
    threads = torch.get_num_threads()

    def call(*arguments, name="copy"):
        monkeypatch.setattr(sys, "argv", [f"benchmarks.{name}", *arguments])
        os.environ["HYDRA_FULL_ERROR"] = "0"
        run.main(name)
        return sorted(path.parent for path in tmp_path.rglob("run.json"))

    yield call
    torch.set_num_threads(threads)


def load(folder):
    about = json.loads((folder / "run.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return about, [json.loads(line) for line in lines]


def test_a_run_leaves_all_its_files(command, capsys):
    (folder,) = command(*TINY, "seed=3")
    names = {"metrics.jsonl", "run.json", "config.yaml", "checkpoint.pt", "loss.png", "wandb"}
    assert {path.name for path in folder.iterdir()} == names
    about, records = load(folder)
    assert [r["step"] for r in records] == [1, 2, 3]
    assert about["status"] == "finished"
    assert about["seed"] == 3
    assert about["threads"] == 1
    assert about["parameters"] <= 500
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["task"]["delay"] == 5
    assert "${" not in (folder / "config.yaml").read_text()
    assert about["config"] == config
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert saved["state"]["step"] == 3
    assert saved["config"] == config
    printed = capsys.readouterr()
    assert "copy memory, T = 5" in printed.out
    assert all(name in printed.out for name in names)
    assert "loss" in printed.err
    assert "baseline" in printed.err


def test_wandb_run_holds_the_records(command):
    (folder,) = command(*TINY)
    (offline,) = (folder / "wandb").glob("offline-run-*")
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(offline)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    history = [row["history"]["item"] for row in rows if row["type"] == "history"]
    records = load(folder)[1]
    assert len(history) == len(records)
    for logged, record in zip(history, records, strict=True):
        assert record.items() <= logged.items()
    assert history[-1]["figure.format"] == "png"
    (start,) = (row["run"] for row in rows if row["type"] == "run")
    assert start["config"]["update"]["task"]["delay"] == 5


def test_same_seed_same_numbers(command):
    folders = [command(*TINY, "logger=disabled", f"seed={s}", f"name=n{i}")[-1]
               for i, s in enumerate((1, 1, 2))]  # fmt: skip
    losses = [[r["loss"] for r in load(folder)[1]] for folder in folders]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_every_model_takes_a_step_under_every_optimizer(command, model, optimizer):
    (folder,) = command(*TINY, "logger=disabled", f"model={model}", f"optimizer={optimizer}")
    about, records = load(folder)
    assert about["status"] == "finished"
    assert len(records) == 3
    assert about["config"]["model"]["_target_"] == f"benchmarks.models.{model}"


@pytest.mark.parametrize("model", options("model"))
def test_every_model_has_tuned_step_sizes_for_copy(model):
    assert (CONF / "tuned" / f"copy_{model}_rmsprop.yaml").exists()


@pytest.mark.parametrize(("model", "clip"), [("ortho", None), ("lstm", 1.0), ("rnn", 1.0)])
def test_gradients_of_the_baselines_are_clipped(command, model, clip):
    for optimizer in ("rmsprop", "adam"):
        folder = command(*TINY, "logger=disabled", f"model={model}", f"optimizer={optimizer}")[-1]
        assert load(folder)[0]["config"]["train"]["clip"] == clip


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_opens_with_its_command_and_runs(command, experiment):
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
    opening = text.splitlines()[1]
    assert opening.endswith(f"experiment={experiment}")
    name = opening.removeprefix("# python -m benchmarks.").split()[0]
    (folder,) = command(f"experiment={experiment}", *TINY, "logger=disabled", name=name)
    assert load(folder)[0]["status"] == "finished"


def test_models_of_a_sweep_share_the_budget(command):
    models, seeds = ["gru", "lstm", "ortho", "rnn"], [0, 1]
    sweep = ["-m", f"model={','.join(models)}", f"seed={','.join(map(str, seeds))}"]
    folders = command(*sweep, *TINY, "logger=disabled")
    abouts = [load(folder)[0] for folder in folders]
    assert sorted((a["model"], a["seed"]) for a in abouts) == [
        (m, s) for m in models for s in seeds
    ]
    assert all(350 < a["parameters"] <= 500 for a in abouts)


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
    "train.clip=0": ["train.clip", "0"],
    "seed=-1": ["seed", "-1"],
    "seed=x": ["seed", "x"],
    "threads=all": ["threads", "auto", "all"],
    "budget=7": ["budget", "7"],
    "budget=null": ["budget", "model.hidden_size"],
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
}


@pytest.mark.parametrize("override", REFUSED)
def test_a_wrong_configuration_is_one_line_and_nothing_is_written(
    command, override, capsys, tmp_path
):
    with pytest.raises(SystemExit) as stop:
        command(*TINY, "logger=disabled", override)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for word in REFUSED[override]:
        assert word in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_run_is_recorded_and_exits_with_one(command, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        command(*TINY, "logger=disabled", "model=rnn", "model.nonlinearity=relu",
                "optimizer.lr=1e30", "train.steps=20")  # fmt: skip
    assert stop.value.code == 1
    (path,) = tmp_path.rglob("run.json")
    about, records = load(path.parent)
    assert about["status"] == "failed"
    assert "at step" in about["error"]
    assert 0 < len(records) < 20
    assert (path.parent / "checkpoint.pt").exists()
    assert "failed: the loss is" in capsys.readouterr().out


def test_online_logging_without_a_key_is_refused_with_the_way_out(
    command, capsys, monkeypatch, tmp_path
):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as stop:
        command(*TINY, "logger=online")
    assert stop.value.code == 2
    assert "logger=offline" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("run.json"))


def test_a_folder_that_holds_a_run_is_refused(command, capsys):
    command(*TINY, "logger=disabled", "hydra.run.dir=here")
    with pytest.raises(SystemExit) as stop:
        command(*TINY, "logger=disabled", "hydra.run.dir=here")
    assert stop.value.code == 2
    assert "holds a run already" in capsys.readouterr().err
    assert len(load(Path("here"))[1]) == 3


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
    runtime = SimpleNamespace(choices={"hydra/launcher": launcher})
    monkeypatch.setattr(run.HydraConfig, "get", lambda: SimpleNamespace(mode=mode, runtime=runtime))
    monkeypatch.setattr(run, "choose_threads", lambda *_: 7)
    job = object.__new__(run.Job)
    job.settings, job.model = SimpleNamespace(batch_size=4), SimpleNamespace(hidden_size=4)
    assert job._threads(wanted) == threads


def test_ctrl_c_saves_and_exits_with_130(command, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fit", interrupted)
    with pytest.raises(SystemExit) as stop:
        command(*TINY, "logger=disabled")
    assert stop.value.code == 130
    (path,) = tmp_path.rglob("run.json")
    assert json.loads(path.read_text())["status"] == "interrupted"
    assert (path.parent / "checkpoint.pt").exists()


def test_the_module_runs_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.copy", *TINY, "logger=disabled"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "written to runs/copy/" in done.stdout
