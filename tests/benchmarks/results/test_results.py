"""Experiments are trained, kept and checked by one command."""

import contextlib
import json
import operator
import os
import signal
import subprocess
import sys
import time
from functools import reduce

import pytest

from benchmarks.results import rerun
from benchmarks.results.archive import RUNS, load_kept, save_kept
from benchmarks.results.definition import load_definition
from benchmarks.results.planned_runs import planned_runs
from benchmarks.results.report import Report
from benchmarks.results.rows import find_column, format_cell
from tests.benchmarks.fake_runs import write_run
from tests.benchmarks.keeping import TINY, call, define, edit, keep, pretend
from tests.benchmarks.sweeping import ROOT

pytestmark = pytest.mark.usefixtures("default_signals")


@pytest.mark.slow
def test_an_experiment_is_trained_kept_and_reported_by_one_command(results, capsys):
    define(results, TINY)
    page = results.parent / "README.md"
    page.write_text("before\n<!-- results: tiny -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    assert call(results, "run", "tiny") == 0
    kept = load_kept(results / "tiny")
    assert list(kept) == ["ours-seed0", "ours-seed1", "theirs-seed3"]
    one = kept["ours-seed1"]
    assert one.metadata["seed"] == 1
    assert one.metadata["config"]["task"]["delay"] == 5
    assert one.metadata["test"]["loss"] > 0
    assert [r["step"] for r in one.records] == [1, 2, 3, 4, 5, 6]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results: tiny -->\n| model | H |")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "| ours | 8 |" in text
    assert (results / "tiny" / "curves.png").is_file()
    assert "a tiny experiment" in (results / "README.md").read_text(encoding="utf-8")
    assert call(results, "check") == 0
    capsys.readouterr()
    stamp = (results / "tiny" / RUNS).read_bytes()
    assert call(results, "run", "tiny", "--jobs", "2") == 0  # nothing is trained a second time
    assert (results / "tiny" / RUNS).read_bytes() == stamp
    assert "written: nothing" in capsys.readouterr().out


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
        change = {"steps_to_target": 2}
        edit(results / "tiny", "ours-seed0", lambda run: run.metadata["summary"].update(change))
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
    edit(results / "tiny", "ours-seed0", lambda run: run.records[1].update(loss=0.06))
    assert call(results, "check") == 1


@pytest.mark.slow
def test_a_run_that_diverges_is_a_result_and_one_that_fails_is_none(results, capsys):
    diverging, failing = "model.nonlinearity=relu, optimizer.lr=1e30", "device=nonsense"
    text = TINY.replace("model=rnn, model.hidden_size=8", f"model=rnn, {diverging}")
    define(results, f"{text}  - {{name: last, overrides: [{failing}], seeds: [4]}}\n")
    odd = "runs 'with' \\ and $ {a}, b=c"
    assert call(results, "run", "tiny", "--jobs", "2", runs=odd) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "python -m benchmarks.copy" in told
    assert "device" in told
    found = Report(results).rows("tiny")
    assert format_cell(found[1], find_column("test_loss", found)) == "diverged"
    assert format_cell(found[1], find_column("steps_to_target", found)) == "diverged"
    assert format_cell(found[2], find_column("test_loss", found)) == "not run"
    page = (results / "tiny" / "compare.md").read_text(encoding="utf-8")
    assert "(theirs-seed3)" in page
    told = load_kept(results / "tiny")["theirs-seed3"].metadata["error"]
    assert "the last good checkpoint is checkpoint.pt" in told
    assert str(results) not in page
    assert call(results, "check") == 0
    assert call(results, "list", "tiny") == 0
    assert "(3 of 4 runs)" in capsys.readouterr().out
    assert call(results, "run", "tiny", runs=odd) == 1  # tries it again


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_stopped_saves_and_the_rest_waits(results, number):
    text = TINY.replace("train.steps=6", "train.steps=100000")
    define(results, text.replace("seeds: [0, 1]", "seeds: [0]"))
    arguments = ["run", "tiny", "--jobs", "2", "--results", str(results), "--runs", "runs"]
    places = results.parent / "runs"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.results", *arguments],
        cwd=results.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while len([p for p in places.rglob("metrics.jsonl") if p.stat().st_size]) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        if number == signal.SIGINT:  # of a terminal, which all processes get
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert "0 of 2 in all" in said
    for path in places.rglob("run.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["status"] == "interrupted"
        assert (path.parent / "checkpoint.pt").is_file()


def test_keeping_takes_what_is_over_and_check_names_what_is_no_part_of_the_experiment(
    results, capsys
):
    define(results, TINY)
    runs, folder = results.parent / "runs", results / "tiny"
    first, second, third = planned_runs(load_definition("tiny", results))
    write_run(runs / first.composed().folder, status="running")
    write_run(runs / second.composed().folder, seed=1, status="failed", traceback="/home/a bug")
    write_run(runs / third.composed().folder, seed=3)
    keep(folder, "other-seed0")
    assert call(results, "keep", "tiny") == 0
    assert list(load_kept(folder)) == ["other-seed0", third.name]
    assert "1 kept from" in capsys.readouterr().out
    assert call(results, "check") == 1
    assert "other-seed0 belongs to no run" in capsys.readouterr().err


def test_missing_trains_what_is_not_kept_or_has_another_setting(results, monkeypatch):
    define(results, TINY)
    pretend(results, "tiny", ours_seed0={}, ours_seed1={"seed": 1})
    edit(results / "tiny", "ours-seed1", lambda run: run.metadata["config"]["task"].update(delay=6))
    asked = []
    monkeypatch.setattr(rerun, "train_runs", lambda jobs, *_: asked.extend(jobs) or [])
    assert call(results, "run", "tiny", "--missing") == 0
    assert [job.name for job in asked] == ["ours-seed1", "theirs-seed3"]
    assert call(results, "run", "tiny") == 0
    assert len(asked) == 2 + 3


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 5}, "seed 5"),
        ({"threads": 2}, "threads 2"),
        ({"config.task.delay": 6}, "it has task.delay=6, the definition 5"),
        ({"config.task.delay": None}, "it has task.delay=null, the definition 5"),
        ({"config.gone": 3}, "it has gone=3, the definition null"),
        ({"config.seed": 9}, "its configuration has seed 9"),
        ({"thinned": {"of": 3, "kept": 4}}, "3 records, 4 were kept"),
        ({"task": "another"}, "several tasks"),
        ({"summary.steps": 7}, "steps 7"),
        ({"summary.best_validation_loss": 0.3}, "best_validation_loss 0.3"),
        ({"summary.best_validation_loss": None}, "best_validation_loss None"),
        ({"summary.steps_to_target": 3, "target_loss": 1e-5}, "no loss below"),
    ],
)
def test_check_tells_records_that_are_not_as_defined_or_contradict_themselves(
    results, change, told, capsys
):
    define(results, TINY)
    pretend(results, "tiny", ours_seed0={}, ours_seed1={"seed": 1})
    assert call(results, "write") == 0
    assert call(results, "check") == 0
    kept = load_kept(results / "tiny")
    for key, value in change.items():
        *outer, inner = key.split(".")
        reduce(operator.getitem, outer, kept["ours-seed0"].metadata)[inner] = value
    save_kept(results / "tiny", kept)
    assert call(results, "write") == 0
    capsys.readouterr()
    assert call(results, "check") == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["write", "other"], "there are: tiny"),
        (["run"], "there are: tiny"),
        (["check", "tiny"], "takes no names"),
        (["run", "tiny", "--jobs", "0"], "at least 1"),
        (["keep", "tiny"], "no folder"),
    ],
)
def test_a_wrong_call_is_one_line_with_the_choices(results, arguments, told, capsys):
    define(results, TINY)
    assert call(results, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
