"""What the tests of sweeps share: a multirun in a process of its own, and who ran each job."""

import os
import subprocess
import sys
from pathlib import Path

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from benchmarks.config.compose import CONF
from benchmarks.config.plugins import with_values
from tests.benchmarks.commandline import TINY, load

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESS = "process"


class Note(Callback):
    """Notes in the folder of each job by which process it was run."""

    def on_job_start(self, config, **_):
        note = Path(config.hydra.runtime.output_dir) / PROCESS
        note.write_text(str(os.getpid()), encoding="utf-8")


def start(folder, *arguments, **environment):
    """Start ``python -m benchmarks.copy -m ...`` with tiny runs, in ``folder``."""
    noted = f"+hydra.callbacks.note._target_={Note.__module__}.Note"
    tiny = [*TINY["copy"], "logger=disabled", noted]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.copy", "-m", *tiny, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """What the process prints; it must end well."""
    try:
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, said
    return said


def runs(folder):
    """``run.json``, the records and the process of every run below a folder, by model and seed."""
    found = {}
    for path in folder.rglob("run.json"):
        about, records = load(path.parent)
        pid = int((path.parent / PROCESS).read_text(encoding="utf-8"))
        found[about["model"], about["seed"]] = about, records, pid
    return found


def space(name, *overrides):
    """The searched values by key, and the keys that the space holds still."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        given = with_values(["hydra/sweeper=optuna", *overrides])
        composed = hydra.compose(name, given, return_hydra_config=True)
        params = OmegaConf.to_container(composed.hydra.sweeper.params, resolve=True)
    parsed = OverridesParser.create().parse_overrides([f"{k}={v}" for k, v in params.items()])
    searched = {o.get_key_element(): o.value() for o in parsed if o.is_sweep_override()}
    return searched, set(params) - set(searched)
