"""The search by optuna: the space of each task, and that it goes on after it was killed."""

import time

import hydra
import pytest
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import OmegaConf

from benchmarks.config.compose import CONF
from tests.benchmarks.commandline import TINY, options
from tests.benchmarks.sweeping import finish, space, start

NATIVE = ["gru", "irnn", "lru", "lstm", "mingru", "rnn"]


def corner(searched, last):
    """The overrides of the first or of the last value of everything searched."""
    ends = {
        key: (value.start, value.end) if isinstance(value, IntervalSweep) else value.list
        for key, value in searched.items()
    }
    return [f"{key}={values[-1 if last else 0]}" for key, values in ends.items()]


@pytest.mark.each_value_once
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", TINY)
def test_the_corners_of_the_space_of_each_task_can_be_run(command, name, last):
    searched, still = space(name)
    assert {"optimizer.lr", "optimizer.lr_ortho"} <= set(searched)
    assert not still
    tiny = [*TINY[name], "train.steps=1", "logger=disabled"]
    assert command(*tiny, *corner(searched, last), name=name)


@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_what_an_optimizer_has_of_its_own_is_searched(command, optimizer):
    searched, _ = space("copy", f"optimizer={optimizer}")
    own = [key for key in searched if key.startswith("optimizer.algorithm.")]
    assert own
    tiny = [*TINY["copy"], "train.steps=1", "logger=disabled", f"optimizer={optimizer}"]
    assert command(*tiny, *corner(searched, False))


@pytest.mark.parametrize("model", options("model"))
def test_the_start_of_a_recurrence_is_searched_where_it_has_one(model):
    searched, still = space("copy", f"model={model}")
    orthogonal = {"optimizer.lr_ortho", "orthogonal.init"}
    assert orthogonal <= (still if model in NATIVE else set(searched))
    assert "optimizer.lr" in searched


def test_another_sweeper_has_no_space():
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        assert hydra.compose("copy", return_hydra_config=True).hydra.sweeper.params is None


def search(folder):
    """Start a search of five trials, from good ones to ones that diverge."""
    few = ["hydra.sweeper.n_trials=5", "train.steps=30", "optimizer.algorithm.alpha=0.9"]
    few += [
        "optimizer.lr=tag(log, interval(1e-3, 1e25))",
        "train.checkpoint_every=10",
        "orthogonal.init=henaff",
    ]
    return start(folder, "hydra/sweeper=optuna", *few)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a search that nothing stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, finish(search(folder))


def found(folder):
    """The best values, and the status of every run by its folder's name."""
    (best,) = folder.rglob("optimization_results.yaml")
    return best.read_text(encoding="utf-8"), statuses(folder)


def statuses(folder):
    return {path.parent.name: OmegaConf.load(path).status for path in folder.rglob("run.json")}


@pytest.mark.slow
def test_a_search_ends_with_the_best_values_whatever_diverged(whole):
    folder, said = whole
    best, ended = found(folder)
    assert sorted(set(ended.values())) == ["failed", "finished"]
    assert "best_params" in best
    assert "optimizer.lr: " in best
    assert "Best parameters: {'optimizer.lr': " in said


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_to_the_same_end(whole, tmp_path):
    killed = search(tmp_path)
    while not statuses(tmp_path):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    before = statuses(tmp_path)
    assert 0 < len(before) < len(statuses(whole[0]))
    assert not list(tmp_path.rglob("optimization_results.yaml"))
    finish(search(tmp_path))
    assert found(tmp_path) == found(whole[0])


@pytest.mark.slow
def test_a_search_in_which_every_trial_fails_says_so_in_one_line(tmp_path):
    diverging = ["model=rnn", "model.nonlinearity=relu", "optimizer.lr=interval(1e29,1e30)"]
    more = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "train.steps=20"]
    process = start(tmp_path, *more, *diverging)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("error: No trials are completed")
    assert "Traceback" not in said
    assert len(list(tmp_path.rglob("run.json"))) == 2
