"""Kept runs lie in two compressed files, whose bytes follow from the runs alone."""

import gzip
import math
from pathlib import Path

import pytest

from benchmarks.records.run import read_run
from benchmarks.results.archive import RECORDS, RUNS, load_kept, save_kept
from tests.benchmarks.fake_runs import write_run


@pytest.fixture
def runs(tmp_path):
    return {
        f"ours-seed{seed}": read_run(write_run(tmp_path / str(seed), seed=seed)) for seed in (1, 0)
    }


def lines(path):
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_what_was_saved_is_loaded_in_the_order_of_the_names(tmp_path, runs):
    runs["ours-seed0"].records[1]["loss"] = math.nan
    save_kept(tmp_path, runs)
    kept = load_kept(tmp_path)
    assert list(kept) == ["ours-seed0", "ours-seed1"]
    assert kept["ours-seed1"].folder == Path("ours-seed1")
    assert kept["ours-seed1"].metadata == runs["ours-seed1"].metadata
    assert kept["ours-seed1"].records == runs["ours-seed1"].records
    assert math.isnan(kept["ours-seed0"].records[1]["loss"])


def test_a_line_is_of_one_run_or_one_record_and_names_its_run(tmp_path, runs):
    save_kept(tmp_path, runs)
    assert [line[:21] for line in lines(tmp_path / RUNS)] == [
        '{"run": "ours-seed0",',
        '{"run": "ours-seed1",',
    ]
    assert lines(tmp_path / RECORDS)[0].startswith('{"run": "ours-seed0", "step": 1, "loss": 1.0,')
    assert len(lines(tmp_path / RECORDS)) == 6


def test_equal_runs_make_equal_bytes_whenever_and_wherever_they_are_written(tmp_path, runs):
    save_kept(tmp_path, runs)
    (tmp_path / "again").mkdir()
    save_kept(tmp_path / "again", load_kept(tmp_path))
    for name in (RUNS, RECORDS):
        content = (tmp_path / name).read_bytes()
        assert content == (tmp_path / "again" / name).read_bytes()
        # no file name, no time, the highest level, no operating system
        assert content[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"


def test_an_experiment_of_which_nothing_was_kept_has_no_runs(tmp_path):
    assert load_kept(tmp_path) == {}


@pytest.mark.parametrize("name", [RUNS, RECORDS])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"not gzip"])
def test_a_damaged_file_is_named(tmp_path, runs, name, damage):
    save_kept(tmp_path, runs)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        load_kept(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (RUNS, '{"run": "ours-seed0"}\n', "a line that describes no run"),
        (RECORDS, '{"run": "theirs-seed0", "step": 1}\n', "records of 'theirs-seed0'"),
        (RECORDS, "[1]\n", "lines that are no records"),
    ],
)
def test_lines_that_belong_to_no_run_are_refused(tmp_path, runs, name, text, message):
    save_kept(tmp_path, runs)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ValueError, match=message):
        load_kept(tmp_path)
