"""Experiments, the records that are kept of them, and the tables and figures made of those."""

import json
import math

import pytest

from benchmarks.records import read, read_records
from benchmarks.results import command, keep, readme
from benchmarks.results.cells import cell, column, lines
from benchmarks.results.experiment import DefinitionError, load
from benchmarks.results.jobs import jobs
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
SEARCH = """
title: a search
benchmark: copy
seeds: [7]
columns: [test_loss]
choose: [steps_to_target, test_loss]
rows:
  - {name: A, overrides: ["optimizer.lr=1,2", optimizer.algorithm.alpha=0.5]}
  - {name: A, overrides: ["optimizer.lr=1,2", optimizer.algorithm.alpha=0.9]}
  - {name: B, overrides: [model=rnn, optimizer.lr=3]}
"""


@pytest.fixture
def results(tmp_path):
    """A folder of results with what ``define`` has put into it."""
    root = tmp_path / "project" / "results"
    root.mkdir(parents=True)
    return root


def define(results, text, name="tiny", tables=""):
    (results / name).mkdir(exist_ok=True)
    (results / name / "experiment.yaml").write_text(text, encoding="utf-8")
    (results / "contents.yaml").write_text(f"experiments: [{name}]\n{tables}", encoding="utf-8")


def call(results, *arguments):
    runs = results.parent / "runs"
    return command.main([*arguments, "--results", str(results), "--runs", str(runs)])


def pretend(results, name, **runs):
    """Keep records of runs that nobody has trained: by the names of their folders."""
    for folder, said in runs.items():
        label, _, seed = folder.rpartition("_seed")
        run = write_run(results / name / keep.RECORDS / f"{label}-seed{seed}", **said)
        keep.write(read(run), run, keep.MOST)


def test_an_experiment_is_trained_kept_and_reported_by_one_command(results, capsys):
    define(results, TINY)
    page = results.parent / "README.md"
    page.write_text("before\n<!-- results: tiny -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    assert call(results, "run") == 0
    records = sorted(p.name for p in (results / "tiny" / keep.RECORDS).iterdir())
    assert records == ["ours-seed0", "ours-seed1", "theirs-seed3"]
    one = results / "tiny" / keep.RECORDS / "ours-seed1"
    about = json.loads((one / "run.json").read_text(encoding="utf-8"))
    assert about["seed"] == 1
    assert about["config"]["task"]["delay"] == 5
    assert about["test"]["loss"] > 0
    assert [r["step"] for r in read_records(one)] == [1, 2, 3, 4, 5, 6]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results: tiny -->\n| model | H |")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "| ours | 8 |" in text
    assert (results / "tiny" / "curves.png").is_file()
    assert "a tiny experiment" in (results / "README.md").read_text(encoding="utf-8")
    assert call(results, "check") == 0
    capsys.readouterr()
    stamp = (one / "run.json").read_text(encoding="utf-8")
    assert call(results, "run", "--jobs", "2") == 0  # nothing is trained a second time
    assert (one / "run.json").read_text(encoding="utf-8") == stamp
    assert "nothing has changed" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["table", "page", "record", "figure"])
def test_check_sees_what_is_not_as_the_records_have_it(results, what, capsys):
    define(results, TINY)
    pretend(results, "tiny", ours_seed0={}, ours_seed1={"seed": 1}, theirs_seed3={"seed": 3})
    readme_ = results.parent / "README.md"
    readme_.write_text("<!-- results: tiny -->\n<!-- end -->\n", encoding="utf-8")
    assert call(results, "write") == 0
    assert call(results, "check") == 0
    if what == "table":
        readme_.write_text(readme_.read_text().replace("| ours | 8 |", "| ours | 9 |"))
    elif what == "page":
        (results / "README.md").write_text("nothing")
    elif what == "record":
        path = results / "tiny" / keep.RECORDS / "ours-seed0" / "run.json"
        path.write_text(path.read_text().replace('"steps_to_target": 3', '"steps_to_target": 2'))
    else:
        (results / "tiny" / "curves.png").unlink()
    capsys.readouterr()
    assert call(results, "check") == 1
    assert "is not what the records say" in capsys.readouterr().err
    assert call(results, "write") == 0
    assert call(results, "check") == 0


def test_a_changed_curve_makes_its_figure_stale(results):
    define(results, TINY)
    pretend(results, "tiny", ours_seed0={})
    assert call(results, "write") == 0
    path = results / "tiny" / keep.RECORDS / "ours-seed0" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss": 0.05', '"loss": 0.06'))
    assert call(results, "check") == 1


def test_a_run_that_fails_is_told_kept_and_shown(results, capsys):
    define(
        results,
        TINY.replace(
            "model.hidden_size=8], seeds", "model.nonlinearity=relu, optimizer.lr=1e30], seeds"
        ),
    )
    assert call(results, "run") == 1
    assert "benchmarks.copy" in capsys.readouterr().err
    experiment, found = lines("tiny", results)
    assert [cell(line, column("test_loss", found)) for line in found][1] == "diverged"
    assert call(results, "check") == 0
    assert experiment.title == "a tiny experiment"


def test_cells_have_the_seeds_in_their_order(results):
    define(results, TINY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    solved, unsolved = (1.0, 0.05, 0.0005), (1.0, 0.05, 0.05)
    pretend(
        results,
        "tiny",
        ours_seed0={"values": solved},
        ours_seed1={"seed": 1, "values": unsolved},
        theirs_seed3={"seed": 3, "values": unsolved},
    )
    _, found = lines("tiny", results)
    target = column("steps_to_target", found)
    assert [cell(line, target) for line in found] == ["3, never", "never"]
    loss = column("test_loss", found)
    assert cell(found[0], loss) == "5.00e-04, 5.00e-02"


def test_what_was_not_run_is_said(results):
    define(results, TINY)
    assert call(results, "write") == 0
    assert readme.index(results).endswith("run tiny`\n\nNot run yet.\n")
    pretend(results, "tiny", ours_seed0={})
    assert "| theirs | - | - | not run | not run |" in readme.index(results)


def test_the_rows_of_a_search_are_told_apart_and_the_best_is_chosen(results):
    define(results, SEARCH, "search")
    found = jobs(load("search", results))
    assert [job.label for job in found] == [
        "A, lr=1, alpha=0.5",
        "A, lr=2, alpha=0.5",
        "A, lr=1, alpha=0.9",
        "A, lr=2, alpha=0.9",
        "B",
    ]
    values = [(1.0, 0.05, 0.01), (1.0, 0.0005, 0.0009), (1.0, 0.0005, 0.0004), (1.0, 0.05, 0.001)]
    for job, losses in zip(found, values, strict=False):
        run = write_run(results / "search" / keep.RECORDS / job.folder, values=losses, seed=7)
        keep.write(read(run), run, keep.MOST)
    table = readme.blocks(results)["search"]()
    assert "| A | 4 | `lr=1, alpha=0.9` | 2 | 4.00e-04 |" in table
    assert "| B |" not in table


def test_two_runs_of_one_name_are_refused(results):
    define(results, TINY.replace("name: theirs", "name: Ours").replace("seeds: [3]", "seeds: [1]"))
    with pytest.raises(DefinitionError, match="ours-seed1"):
        jobs(load("tiny", results))


@pytest.mark.parametrize("most", [200, 3000, 10**6])
def test_thinning_keeps_the_ends_and_the_validations_within_its_bytes(most):
    records = [{"step": k, "loss": math.pi / k, "seconds": 0.1 * k} for k in range(1, 101)]
    records[36]["validation_loss"] = 0.123456789
    kept = keep.thin(records, most)
    steps = [r["step"] for r in kept]
    assert steps[0] == 1
    assert 37 in steps
    assert steps[-1] == 100
    assert all(isinstance(step, int) for step in steps)
    size = sum(len(json.dumps(r)) + 1 for r in kept)
    assert size <= most or len(kept) == 3
    assert (len(kept) == 100) == (most == 10**6)
    for record in kept:
        assert record["loss"] == pytest.approx(math.pi / record["step"], rel=5e-5)


def test_the_summary_of_thinned_records_is_that_of_all(tmp_path):
    whole = read(write_run(tmp_path / "a", values=[1.0, *[0.05] * 50, *[0.0005] * 50]))
    keep.write(whole, tmp_path / "b", 500)
    kept = read(tmp_path / "b")
    assert len(kept.records) < 10
    assert kept.summary == whole.summary
    assert kept.summary["steps_to_target"] == 52


def test_keeping_leaves_out_what_runs_and_removes_what_the_experiment_no_longer_has(results):
    define(results, TINY)
    experiment = load("tiny", results)
    runs, folder = results.parent / "runs", results / "tiny"
    first, second, third = jobs(experiment)
    write_run(runs / first.trains_in, status="running")
    write_run(runs / third.trains_in, seed=3)
    write_run(folder / keep.RECORDS / second.folder, seed=1)
    write_run(folder / keep.RECORDS / "other-seed0")
    assert keep.keep(jobs(experiment), runs, folder) == [third]
    left = sorted(p.name for p in (folder / keep.RECORDS).iterdir())
    assert left == [second.folder, third.folder]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: x\n", "benchmark"),
        (TINY + "sedes: [1]\n", "sedes"),
        (TINY.replace("seeds: [0, 1]", "seeds: many"), "seeds"),
        ("title: [\n", "YAML"),
        ("- 1\n", "experiment.yaml"),
    ],
)
def test_a_wrong_definition_is_one_line(results, text, told, capsys):
    define(results, text)
    with pytest.raises(SystemExit) as stopped:
        call(results, "write")
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_an_unknown_experiment_table_or_number_names_the_choices(results, capsys):
    define(results, TINY)
    with pytest.raises(SystemExit):
        call(results, "write", "other")
    assert "there are: tiny" in capsys.readouterr().err
    with pytest.raises(DefinitionError, match="there are: tiny"):
        readme.filled("<!-- results: none -->\n<!-- end -->", results)
    pretend(results, "tiny", ours_seed0={})
    with pytest.raises(DefinitionError, match="there are: best_validation_loss"):
        column("accuracy", lines("tiny", results)[1])


def test_a_summary_sets_numbers_of_experiments_side_by_side(results):
    tables = (
        "tables: {both: {columns: [{heading: T = 5, experiment: tiny, number: steps_to_target}, "
        "{heading: loss, experiment: tiny, number: test_loss}]}}\n"
    )
    define(results, TINY, tables=tables)
    pretend(results, "tiny", ours_seed0={}, ours_seed1={"seed": 1})
    assert readme.blocks(results)["both"]().splitlines() == [
        "| model | T = 5 | loss |",
        "|---|---|---|",
        "| ours | 3, 3 | 5.00e-04, 5.00e-04 |",
        "| theirs | not run | not run |",
    ]


def test_a_stack_sets_experiments_below_each_other(results):
    define(results, TINY, "other")
    tables = "tables: {all: {parts: {size: tiny, start: other}, numbers: [steps_to_target]}}\n"
    define(results, TINY, tables=tables)
    text = (
        (results / "contents.yaml").read_text(encoding="utf-8").replace("[tiny]", "[tiny, other]")
    )
    (results / "contents.yaml").write_text(text, encoding="utf-8")
    assert readme.blocks(results)["all"]() == "Not run yet."
    pretend(results, "other", ours_seed0={})
    assert readme.blocks(results)["all"]().splitlines() == [
        "|  |  | steps to target |",
        "|---|---|---|",
        "| start | ours | 3 |",
        "| start | theirs | not run |",
    ]
