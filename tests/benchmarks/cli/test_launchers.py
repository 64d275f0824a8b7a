"""The launchers: the same runs, side by side in processes of their own, with one thread each."""

from importlib.util import find_spec

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from benchmarks.config.compose import CONF
from benchmarks.config.plugins import EXTRAS, with_values
from tests.benchmarks.commandline import TINY, options
from tests.benchmarks.sweeping import finish, runs, start

NO_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")
SWEEP = ["model=ortho,lstm", "seed=3"]
SIDE_BY_SIDE = ["joblib", "submitit_local", pytest.param("ray", marks=NO_RAY)]
OF_SWEEPS = {".submitit", "multirun.yaml", ".hydra"}


def losses(found):
    return {key: [r["loss"] for r in records] for key, (_, records, _) in found.items()}


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory):
    """The runs of the basic launcher, which come one after the other in one process."""
    folder = tmp_path_factory.mktemp("basic")
    process = start(folder, *SWEEP)
    finish(process)
    found = runs(folder)
    assert set(found) == {("ortho", 3), ("lstm", 3)}
    assert {pid for _, _, pid in found.values()} == {process.pid}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("launcher", SIDE_BY_SIDE)
def test_a_launcher_gives_the_same_runs_in_processes_with_one_thread(launcher, in_turn, tmp_path):
    sweep = [f"hydra/launcher={launcher}", *SWEEP, "threads=auto"]
    process = start(tmp_path, *sweep, HOME=str(tmp_path), RAY_USAGE_STATS_ENABLED="0")
    finish(process)
    found = runs(tmp_path)
    assert losses(found) == losses(in_turn)
    for about, _, _ in found.values():
        assert about["status"] == "finished"
        assert about["threads"] == 1
    pids = {pid for _, _, pid in found.values()}
    assert len(pids) == 2
    assert process.pid not in pids
    for path in tmp_path.rglob("run.json"):
        assert not OF_SWEEPS & {beside.name for beside in path.parent.iterdir()}


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, extras in EXTRAS.items() for name in extras]
)
def test_a_plugin_that_is_not_installed_is_one_line_with_its_extra(
    group, name, command, monkeypatch, capsys
):
    Plugins.instance()  # the plugins that are there say so here
    here = ConfigStore.instance().repo["hydra"][group.removeprefix("hydra/")]
    monkeypatch.delitem(here, f"{name}.yaml", raising=False)
    with pytest.raises(SystemExit) as stop:
        command("-m", f"{group}={name}", *TINY["copy"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {group}={name} needs: pip install")
    assert f'".[{EXTRAS[group][name]}]"' in line


def test_values_come_with_the_name_of_their_plugin_and_stay_beside_it():
    given = ["-m", "hydra/launcher=joblib", "seed=0,1", "--info", "hydra/sweeper=optuna"]
    assert with_values(given) == [
        *given[:2],
        "hydra/launcher_defaults=joblib",
        *given[2:],
        "hydra/sweeper_defaults=optuna",
    ]
    plain = ["-m", "hydra/launcher=basic", "model=joblib", "hydra.launcher.n_jobs=2"]
    assert with_values(plain) == plain


def test_there_are_values_for_every_plugin():
    assert options("hydra/launcher_defaults") == sorted(EXTRAS["hydra/launcher"])
    assert options("hydra/sweeper_defaults") == sorted(EXTRAS["hydra/sweeper"])


def launcher_config(*overrides):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("copy", with_values(overrides), return_hydra_config=True)
    return composed.hydra.launcher


def test_an_array_of_slurm_goes_back_to_the_queue_when_its_time_is_up():
    ready = launcher_config("hydra/launcher=submitit_slurm")
    assert ready.cpus_per_task == ready.tasks_per_node == ready.nodes == 1
    assert ready.array_parallelism > 1
    assert ready.max_num_timeout > 0
    assert 0 < ready.signal_delay_s < 60 * ready.timeout_min
    by_hand = launcher_config("hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=7")
    assert by_hand.timeout_min == 7
