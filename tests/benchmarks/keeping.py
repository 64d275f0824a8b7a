"""What the tests of the results share: a tiny experiment, and records nobody has trained."""

from benchmarks.records.run import read
from benchmarks.results import command, records
from benchmarks.results.definition import jobs, load
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
    """Keep records of runs that nobody has trained: by the names of their folders."""
    experiment = load(name, results)
    defined = {job.folder: job for job in jobs(experiment)} if hasattr(experiment, "rows") else {}
    for key, said in runs.items():
        folder = "-seed".join(key.rsplit("_seed", 1))
        config = {"config": defined[folder].composed().config} if folder in defined else {}
        run = write_run(results / name / records.RECORDS / folder, **config | said)
        records.write(read(run), run, records.MOST)
