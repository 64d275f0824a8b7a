"""One function writes every Markdown table."""

import pytest

from benchmarks.records.markdown import markdown_table

ROWS = [["model", "loss"], ["a|b", "0.5"], ["", "0.25"]]


def test_a_table_has_dashes_below_its_head_and_no_cell_ends_early():
    assert markdown_table(ROWS).splitlines() == [
        "| model | loss |",
        "|---|---|",
        r"| a\|b | 0.5 |",
        "|  | 0.25 |",
    ]


def test_an_aligned_table_has_columns_of_one_width():
    assert markdown_table([["", "n"], *ROWS[1:]], aligned=True).splitlines() == [
        "|      | n    |",
        "| ---- | ---- |",
        r"| a\|b | 0.5  |",
        "|      | 0.25 |",
    ]


def test_a_head_stands_alone():
    assert markdown_table([["a", "b"]], aligned=True) == "| a   | b   |\n| --- | --- |"


@pytest.mark.parametrize("aligned", [True, False])
def test_rows_are_equally_long(aligned):
    lines = markdown_table(ROWS, aligned).splitlines()
    assert {line.replace(r"\|", "").count("|") for line in lines} == {3}
