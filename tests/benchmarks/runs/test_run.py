"""The command line: what it accepts, writes and refuses."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml

from benchmarks.config.compose import compose
from benchmarks.runs import examination, recorder
from benchmarks.runs import train as run
from benchmarks.runs.build import make_state
from benchmarks.runs.config import RunConfig
from benchmarks.system import environment
from benchmarks.training import loop
from tests.benchmarks.commandline import CONF, TINY, TOKEN_MODELS, load, options
from tests.benchmarks.tuned_sources import sources


@pytest.mark.drawn
def test_a_run_leaves_all_its_files(command, capsys):
    (folder,) = command(*TINY["copy"], "train.gradient_flow_every=100", "seed=3")
    names = {"metrics.jsonl", "run.json", "config.yaml", "checkpoint.pt", "best.pt", "loss.png"}
    names |= {"gradients.jsonl", "gradients.png", "wandb"}
    assert {path.name for path in folder.iterdir()} == {*names, ".lock"}
    about, records = load(folder)
    assert [r["step"] for r in records] == [1, 2, 3]
    assert about["status"] == "finished"
    assert about["seed"] == 3
    assert about["threads"] == 1
    assert about["machine"] == environment.describe_machine(torch.device("cpu"))
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


def test_same_seed_same_numbers(command):
    folders = [command(*TINY["copy"], "logger=disabled", f"seed={s}", f"name=n{i}")[-1]
               for i, s in enumerate((1, 1, 2))]  # fmt: skip
    losses = [[r["loss"] for r in load(folder)[1]] for folder in folders]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.each_value_once
@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_every_model_takes_a_step_under_every_optimizer(command, model, optimizer):
    name = "state_tracking" if model in TOKEN_MODELS else "copy"
    (folder,) = command(
        *TINY[name], "logger=disabled", f"model={model}", f"optimizer={optimizer}", name=name
    )
    about, records = load(folder)
    assert about["status"] == "finished"
    assert len(records) == 3
    assert about["config"]["model"]["_target_"] == f"benchmarks.models.{model}"


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (model, task)
        for task in ("copy", "adding", "pixels", "language", "state_tracking")
        for model in options("model")
        if task == "state_tracking" or model not in TOKEN_MODELS
    ],
)
def test_every_model_has_step_sizes_of_its_own_for_every_task(model, task):
    optimizer = "rmsprop" if task == "copy" else "adam"
    assert sources(CONF)[f"{task}_{model}_{optimizer}"]  # how they were chosen


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("model", "clip"),
    [("ortho", None), ("exprnn", None), ("lstm", 1.0), ("gru", 1.0), ("rnn", 1.0), ("irnn", 1.0)],
)
def test_gradients_of_the_baselines_are_clipped(command, model, clip):
    for optimizer in ("rmsprop", "adam"):
        folder = command(
            *TINY["copy"], "logger=disabled", f"model={model}", f"optimizer={optimizer}"
        )[-1]
        assert load(folder)[0]["config"]["train"]["clip_grad_norm"] == clip


@pytest.mark.sampled(4)
@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_opens_with_its_command_and_runs(command, experiment):
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    opening = text.splitlines()[1]
    assert opening.endswith(f"experiment={experiment}")
    name = opening.removeprefix("# python -m benchmarks.").split()[0]
    (folder,) = command(f"experiment={experiment}", *TINY[name], "logger=disabled", name=name)
    assert load(folder)[0]["status"] == "finished"


@pytest.mark.parametrize("name", TINY)
def test_every_benchmark_runs_every_kind_of_model(command, name):
    for model in ("ortho", "gru", "exprnn"):
        folder = command(*TINY[name], "logger=disabled", f"model={model}", name=name)[-1]
        about, records = load(folder)
        assert about["status"] == "finished"
        scores = {"loss", *about["metrics"]}
        followed = about["stream"]["metrics"] if name == "state_tracking" else {}
        assert about["test"].keys() == scores | {n for n in followed if "reduced" not in n}
        assert records[-1].keys() >= {f"validation_{score}" for score in scores}
        assert (folder / "accuracy.png").exists() == (name == "state_tracking")
        assert (folder / "confusion.png").exists() == (name == "pixels")


@pytest.mark.parametrize("name", ["pixels", "tagging"])
def test_layers_and_directions_are_chosen_by_the_configuration(command, name):
    shape = ["network.num_layers=2", "network.bidirectional=true", "network.dropout=0.1"]
    shape += ["train.gradient_flow_every=3"]
    (folder,) = command(*TINY[name], *shape, "logger=disabled", "model.hidden_size=4", name=name)
    saved = torch.load(folder / "best.pt", weights_only=True)["model"]
    assert "core.weight_hh_l1_reverse" in saved
    assert json.loads((folder / "gradients.jsonl").read_text().splitlines()[0])["spectrum"]


def test_a_seed_decides_the_start_and_the_data_each_by_itself():
    def begin(seed):
        config = RunConfig.of(compose("copy", [*TINY["copy"], f"seed={seed}"]))
        task, settings, state = make_state(config)
        batch = task.training(settings.batch_size, 0, state.generator)
        return state.model.readout.weight, batch.input

    (w, x), (again, same), (v, y) = begin(1), begin(1), begin(2)
    assert torch.equal(w, again)
    assert torch.equal(x, same)
    assert not torch.equal(w, v)
    assert not torch.equal(x, y)


def test_vanished_numbers_are_zero_while_a_run_trains(command, monkeypatch):
    products = []

    def noted(*arguments):
        products.append((torch.tensor([1e-30]) * torch.tensor([1e-10])).item())
        yield from loop.train(*arguments)

    monkeypatch.setattr(run, "fit", noted)
    command(*TINY["copy"], "logger=disabled")
    assert products == [0]


def test_ctrl_c_in_the_test_leaves_the_checkpoint_of_the_last_step(command, monkeypatch, tmp_path):
    def interrupted(model, *_):
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()
        raise KeyboardInterrupt

    monkeypatch.setattr(examination, "evaluate", interrupted)
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=disabled")
    assert stop.value.code == 130
    (path,) = tmp_path.rglob("checkpoint.pt")
    assert torch.load(path, weights_only=True)["state"]["model"]["readout.weight"].abs().min() > 0


def test_a_failing_end_still_closes_every_sink(command, monkeypatch, tmp_path):
    closed = []

    class Fragile(recorder.JsonlLogger):
        def close(self, summary, figures):
            super().close(summary, figures)
            closed.append(summary["status"])
            raise OSError("the disk went away")

    def broken(*_):
        raise OSError("no figure today")

    monkeypatch.setattr(recorder, "JsonlLogger", Fragile)
    monkeypatch.setattr(recorder, "plot_run", broken)
    with pytest.raises(OSError, match=r"no figure|went away"):
        command(*TINY["copy"], "logger=disabled")
    assert closed == ["finished"]


@pytest.mark.drawn
def test_a_file_name_with_dollars_can_be_drawn(command, tmp_path):
    (tmp_path / "a$^$b.txt").write_text("A penny saved is a penny earned. " * 50, encoding="utf-8")
    tiny = [a for a in TINY["language"] if not a.startswith("data.name")]
    options = ["logger=disabled", "train.gradient_flow_every=3", "data.path='a$^$b.txt'"]
    (folder,) = command(*tiny, *options, name="language")
    assert (folder / "loss.png").exists()


def test_the_test_set_is_scored_with_the_best_weights(command, monkeypatch):
    seen = {}
    real = examination.evaluate

    def noted(model, *arguments):
        seen.update({name: p.detach().clone() for name, p in model.named_parameters()})
        return real(model, *arguments)

    monkeypatch.setattr(examination, "evaluate", noted)
    (folder,) = command(
        *TINY["copy"], "logger=disabled", "train.evaluate_every=1", "seed=1",
        "optimizer.lr=10", "optimizer.lr_modrelu=10",
    )  # fmt: skip
    losses = [record["validation_loss"] for record in load(folder)[1]]
    best = torch.load(folder / "best.pt", weights_only=True)
    assert best["step"] == 1 + losses.index(min(losses)) < 3  # the steps are far too large
    assert seen.keys() == best["model"].keys()
    assert all(torch.equal(seen[name], best["model"][name]) for name in seen)


def test_models_of_a_sweep_share_the_budget(command):
    models, seeds = ["gru", "ortho"], [0, 1]
    sweep = ["-m", f"model={','.join(models)}", f"seed={','.join(map(str, seeds))}"]
    folders = command(*sweep, *TINY["copy"], "logger=disabled")
    abouts = [load(folder)[0] for folder in folders]
    assert sorted((a["model"], a["seed"]) for a in abouts) == [
        (m, s) for m in models for s in seeds
    ]
    assert all(350 < a["parameters"] <= 500 for a in abouts)


def test_a_diverged_run_is_recorded_and_exits_with_one(command, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=disabled", "model=rnn", "model.nonlinearity=relu",
                "optimizer.lr=1e30", "train.steps=20")  # fmt: skip
    assert stop.value.code == 1
    (path,) = tmp_path.rglob("run.json")
    about, records = load(path.parent)
    assert about["status"] == "failed"
    assert "at step" in about["error"]
    assert 0 < len(records) < 20
    assert (path.parent / "checkpoint.pt").exists()
    assert "failed: the loss is" in capsys.readouterr().out


@pytest.mark.slow
def test_the_module_runs_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.copy", *TINY["copy"], "logger=disabled"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "written to runs/copy/" in done.stdout
