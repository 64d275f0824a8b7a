"""What is kept of a run, and the tables that are made of it."""

import json
import math

import pytest

from benchmarks.records.run import read_run
from benchmarks.results import archive
from benchmarks.results import text as readme
from benchmarks.results.definition import DefinitionError, load_definition
from benchmarks.results.planned_runs import planned_runs
from benchmarks.results.report import Report
from benchmarks.results.rows import find_column, format_cell
from tests.benchmarks.fake_runs import write_run
from tests.benchmarks.keeping import TINY, call, define, keep, pretend

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
    found = Report(results).rows("tiny")
    target = find_column("steps_to_target", found)
    assert [format_cell(line, target) for line in found] == ["3, > 3, not run", "> 3"]
    seconds = find_column("seconds_to_target", found)
    assert [format_cell(line, seconds) for line in found] == ["6, -, not run", "-"]
    loss = find_column("test_loss", found)
    assert format_cell(found[0], loss) == "5.00e-04, 5.00e-02, not run"


def test_what_was_not_run_is_said(results):
    define(results, TINY)
    assert call(results, "write") == 0
    assert readme.index_page(Report(results)).endswith("run tiny`\n\nNot run yet.\n")
    pretend(results, "tiny", ours_seed0={})
    page = readme.index_page(Report(results))
    assert "| theirs | - | - | not run | not run |" in page
    assert "Copy memory, T = 5; memoryless baseline 0.1. 3 steps, batches of 4, RMSprop." in page


def test_words_are_explained_before_the_tables(results):
    define(results, TINY, tables="glossary: {recall: the share that is recalled.}\n")
    lines = readme.index_page(Report(results)).splitlines()
    assert lines.index("- *recall*: the share that is recalled.") < lines.index(
        "## a tiny experiment"
    )


def test_seconds_of_several_machines_are_said_not_to_compare(results):
    text = TINY.replace("[0, 1]", "[0, 1, 2]")
    define(results, text.replace("test_loss]", "seconds_to_target]"))
    pretend(results, "tiny", ours_seed0={}, theirs_seed3={"seed": 3})
    assert "machine" not in readme.index_page(Report(results)).partition("## ")[2]
    again = [{"machine": "a faster one"}]
    pretend(results, "tiny", ours_seed1={"seed": 1, "resumed": again})
    assert "do not compare: a machine: ours, theirs; a faster one: ours." in readme.index_page(
        Report(results)
    )
    pretend(results, "tiny", ours_seed2={"seed": 2, "machine": "x86_64, 2 cores"})
    assert "; not recorded: ours." in readme.index_page(Report(results))
    define(results, text)
    assert "do not compare" not in readme.index_page(Report(results))


def test_the_rows_of_a_search_are_told_apart_and_the_best_is_chosen(results):
    define(results, SEARCH, "search")
    found = planned_runs(load_definition("search", results))
    assert [job.label for job in found] == [
        "A, lr=1, alpha=0.5",
        "A, lr=2, alpha=0.5",
        "A, lr=1, alpha=0.9",
        "A, lr=2, alpha=0.9",
        "B",
    ]
    values = [(1.0, 0.05, 0.01), (1.0, 0.0005, 0.0009), (1.0, 0.0005, 0.0004), (1.0, 0.05, 0.001)]
    for job, losses in zip(found, values, strict=False):
        keep(results / "search", job.name, values=losses, seed=7)
    table = readme.readme_table("search", Report(results))
    assert "| A | 4 | `lr=1, alpha=0.9` | 2 | 4.00e-04 |" in table
    assert "| B |" not in table


def test_two_runs_of_one_name_are_refused(results):
    define(results, TINY.replace("name: theirs", "name: Ours").replace("seeds: [3]", "seeds: [1]"))
    with pytest.raises(DefinitionError, match="ours-seed1"):
        planned_runs(load_definition("tiny", results))


@pytest.mark.parametrize(
    "worse",
    [
        [{"status": "failed", "test": {"loss": 0}, "seed": seed} for seed in (7, 8)],
        [{"test": {"loss": math.nan}, "seed": seed} for seed in (7, 8)],
        [{}],  # of two seeds
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_search_chooses_nothing_that_diverged_or_lacks_a_seed(results, worse, first):
    text = SEARCH.replace("[7]", "[7, 8]").replace("[steps_to_target, test_loss]", "[test_loss]")
    define(results, text, "search")
    found = planned_runs(load_definition("search", results))
    pairs = [(1e-9, worse), (0.5, [{}, {"seed": 8}])]
    for k, (loss, runs) in enumerate(pairs if first else pairs[::-1]):
        for seed, said in enumerate(runs):
            name = found[2 * k + seed].name
            keep(results / "search", name, values=(1.0, loss), **said)
    assert f"`lr={2 if first else 1}, alpha=0.5`" in readme.readme_table("search", Report(results))


def test_neighbours_are_thinned_to_steps_that_they_share():
    long, short = (
        [{"step": k, "loss": value} for k in range(1, 101)] for value in (0.123456789, 0.5)
    )
    steps = [[r["step"] for r in archive.thin_records(records, 1390)] for records in (long, short)]
    assert len(steps[0]) < len(steps[1]) < 100
    assert set(steps[0]) <= set(steps[1])


@pytest.mark.parametrize("most", [200, 3000, 10**6])
def test_thinning_keeps_the_ends_and_the_validations_within_its_bytes(most):
    records = [{"step": k, "loss": math.pi / k, "seconds": 0.1 * k} for k in range(1, 101)]
    records[36]["validation_loss"] = 0.123456789
    kept = archive.thin_records(records, most)
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
        assert len(f"{record['loss']!r}".replace("0.", "").replace(".", "").lstrip("0")) <= 5


def test_the_summary_of_thinned_records_is_that_of_all(tmp_path):
    whole = read_run(write_run(tmp_path / "a", values=[1.0, *[0.05] * 50, *[0.0005] * 50]))
    archive.save_kept(tmp_path, {"b": archive.thin_run(whole, 500)})
    kept = archive.load_kept(tmp_path)["b"]
    assert len(kept.records) < 10
    assert kept.summary == whole.summary
    assert kept.summary["steps_to_target"] == 52


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: x\n", "benchmark"),
        (TINY + "sedes: [1]\n", "sedes"),
        (TINY.replace("seeds: [0, 1]", "seeds: many"), "seeds"),
        (TINY[: TINY.index("rows")] + "rows: []\n", "rows"),
        (TINY.replace("model=rnn, ", "'model=[', "), "theirs"),
        ("title: [\n", "YAML"),
        ("- 1\n", "experiment.yaml"),
    ],
)
def test_a_wrong_definition_is_one_line(results, text, told, capsys):
    define(results, text)
    assert call(results, "list", "tiny") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize(
    "page",
    [
        "<!-- results: none -->\n<!-- end -->",
        "<!-- results: tiny -->\nforgotten",
        "<!-- results: tiny -->\nforgotten\n<!-- results: tiny -->\n<!-- end -->",
        "<!-- results: ti ny -->\n<!-- end -->",
    ],
)
def test_a_page_with_an_unknown_or_unfinished_table_is_refused(results, page, capsys):
    define(results, TINY)
    path = results.parent / "README.md"
    path.write_text(page, encoding="utf-8")
    assert call(results, "write") == 2
    assert path.read_text(encoding="utf-8") == page
    assert "README.md" in capsys.readouterr().err


def test_an_unknown_number_names_the_choices(results):
    define(results, TINY)
    pretend(results, "tiny", ours_seed0={})
    with pytest.raises(DefinitionError, match="there are: best_validation_loss"):
        find_column("accuracy", Report(results).rows("tiny"))


def test_a_summary_sets_numbers_of_experiments_side_by_side(results):
    tables = (
        "tables: {both: {columns: [{heading: T = 5, experiment: tiny, number: steps_to_target}, "
        "{heading: loss, experiment: tiny, number: test_loss}]}}\n"
    )
    define(results, TINY, tables=tables)
    pretend(results, "tiny", ours_seed0={}, ours_seed1={"seed": 1})
    assert readme.readme_table("both", Report(results)).splitlines() == [
        "| model | T = 5 | loss |",
        "|---|---|---|",
        "| ours | 3, 3 | 5.00e-04, 5.00e-04 |",
        "| theirs | not run | not run |",
    ]
    pretend(results, "tiny", theirs_seed3={"seed": 3})
    last = readme.readme_table("both", Report(results)).splitlines()[-1]
    assert last == "| theirs | 3 (one seed) | 5.00e-04 (one seed) |"


def test_a_digest_has_a_row_for_each_experiment(results):
    define(results, TINY, "other")
    parts = "parts: {size: tiny, start: other}, number: steps_to_target, heading: steps"
    define(results, TINY, tables=f"tables: {{all: {{{parts}}}}}\n")
    text = (
        (results / "contents.yaml").read_text(encoding="utf-8").replace("[tiny]", "[tiny, other]")
    )
    (results / "contents.yaml").write_text(text, encoding="utf-8")
    assert readme.readme_table("all", Report(results)) == "Not run yet."
    pretend(results, "other", ours_seed0={}, theirs_seed3={"seed": 3})
    assert readme.readme_table("all", Report(results)).splitlines() == [
        "|  | steps |",
        "|---|---|",
        "| start | ours: 3, not run; theirs: 3 (one seed) |",
    ]
