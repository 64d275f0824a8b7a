"""What the tests of the results share: a tiny experiment, and records nobody has trained."""

import tempfile
from pathlib import Path

from benchmarks.records.run import read_run
from benchmarks.results import archive, command
from benchmarks.results.definition import load_definition
from benchmarks.results.planned_runs import planned_runs
from tests.benchmarks.fake_runs import write_run

TINY = """
title: a tiny experiment
benchmark: copy
overrides: [task.delay=5, train.batch_size=4, train.steps=6, train.evaluation_batches=1]
seeds: [0, 1]
columns: [steps_to_target, test_loss]
rows:
  - {name: ours, overrides: [model=ortho, model.hidden_size=8]}
  - {name: theirs, overrides: [model=rnn, model.hidden_size=8], seeds: [3]}
"""


def define(results, text, name="tiny", tables=""):
    (results / name).mkdir(exist_ok=True)
    (results / name / "experiment.yaml").write_text(text, encoding="utf-8")
    (results / "contents.yaml").write_text(f"experiments: [{name}]\n{tables}", encoding="utf-8")


def call(results, *arguments, runs="runs"):
    folder = results.parent / runs
    return command.main([*arguments, "--results", str(results), "--runs", str(folder)])


def pretend(results, name, **runs):
    """Keep records of runs that nobody has trained: by their names, ``ours_seed0``."""
    experiment = load_definition(name, results)
    defined = (
        {job.name: job for job in planned_runs(experiment)} if hasattr(experiment, "rows") else {}
    )
    for key, said in runs.items():
        run = "-seed".join(key.rsplit("_seed", 1))
        config = {"config": defined[run].composed().config} if run in defined else {}
        keep(results / name, run, **config | said)


def keep(folder, name, **said):
    """Keep records of a run that nobody has trained, for an experiment by its folder."""
    with tempfile.TemporaryDirectory() as trained:
        run = archive.thin_run(
            read_run(write_run(Path(trained) / name, **said)), archive.MAX_RECORD_BYTES
        )
    archive.save_kept(folder, archive.load_kept(folder) | {name: run})


def edit(folder, name, change):
    """Change what is kept of a run: ``change`` gets it, with its description and records."""
    kept = archive.load_kept(folder)
    change(kept[name])
    archive.save_kept(folder, kept)
