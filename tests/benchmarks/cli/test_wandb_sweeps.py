"""The sweeps of W&B: the same spaces as optuna's, accepted by W&B's own commands, and run."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.types import IntervalSweep
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from benchmarks.config.compose import CONF
from tests.benchmarks.commandline import TINY, load, options
from tests.benchmarks.sweeping import space
from tests.benchmarks.sweepserver import SweepServer
from tests.benchmarks.wandb_runs import alone

FOLDER = CONF / "wandb_sweeps"


def sweep(name):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def test_there_is_a_sweep_for_each_task():
    assert options("wandb_sweeps") == sorted([*TINY, "models"])


@pytest.mark.parametrize("name", TINY)
def test_a_sweep_searches_the_space_that_optuna_searches(name):
    searched, _ = space(name)
    parameters = sweep(name)["parameters"]
    assert set(parameters) == set(searched)
    for key, value in searched.items():
        if isinstance(value, IntervalSweep):
            assert parameters[key] == {
                "distribution": "log_uniform_values",
                "min": value.start,
                "max": value.end,
            }
            assert "log" in value.tags
        else:
            assert parameters[key]["values"] == [getattr(v, "text", v) for v in value.list]


def given(name, last):
    """What an agent is given for a trial: the first or the last value of each parameter."""
    ends = {
        key: p["values"][-1 if last else 0] if "values" in p else p["max" if last else "min"]
        for key, p in sweep(name)["parameters"].items()
    }
    return {key: {"value": value} for key, value in ends.items()}


@pytest.mark.each_value_once
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", options("wandb_sweeps"))
def test_the_command_line_of_an_agent_runs(command, name, last):
    *_, flag, module, logger, threads, arguments = sweep(name)["command"]
    assert (flag, logger, threads) == ("-m", "logger=online", "threads=1")
    assert arguments == "${args_no_hyphens}"
    name_of_task = module.removeprefix("benchmarks.")
    line = create_sweep_command_args({"args": given(name, last)})["args_no_hyphens"]
    tiny = [*TINY[name_of_task], "train.steps=1", "logger=disabled"]
    assert command(*tiny, *line, name=name_of_task)


@pytest.fixture
def server():
    with SweepServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def wandb(server, folder, *arguments):
    """W&B's own command line, which must end well."""
    here = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "HOME": str(folder)}
    here |= {"OMP_NUM_THREADS": "1", "WANDB_DIR": str(folder)}
    here["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "wandb", *arguments],
        cwd=folder,
        env=alone(**here),  # another test's service has ended
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_wandb_accepts_a_sweep_and_its_agent_runs_a_trial(server, tmp_path):
    said = wandb(server, tmp_path, "sweep", "--project", "orthornn", str(FOLDER / "copy.yaml"))
    assert "Run sweep agent with: wandb agent me/orthornn/sweep" in said
    assert [yaml.safe_load(config) for config in server.sweeps] == [sweep("copy")]

    tiny = dict(argument.split("=") for argument in [*TINY["copy"], "logger=disabled"])
    trial = given("copy", False) | {key: {"value": value} for key, value in tiny.items()}
    server.trials = [{"type": "run", "run_id": "trial", "program": "", "args": trial}]
    wandb(server, tmp_path, "agent", "--count", "1", "me/orthornn/sweep")
    (about,) = (load(path.parent)[0] for path in tmp_path.rglob("run.json"))
    assert about["status"] == "finished"
    assert about["config"]["optimizer"]["lr"] == sweep("copy")["parameters"]["optimizer.lr"]["min"]
