"""The comparison as CSV and LaTeX, and where it is written."""

import csv
import io
import statistics

import pytest

from benchmarks import compare
from benchmarks.comparison.writers.latex import escape_latex, latex_number
from tests.benchmarks.fake_runs import three_seeds, write_run


@pytest.fixture
def runs(tmp_path):
    three_seeds(tmp_path / "runs", "ortho", (0.91, 0.95, 0.93))
    three_seeds(tmp_path / "runs", "lstm", (0.1, 0.1 + 1e-9, 0.12))
    metrics = {"error_x": {"show": ".2f", "better": "lower"}}
    test = {"loss": 1.0, "error_x": 0.5}
    other = {"task": "50 % of $x_1 & #2", "metrics": metrics, "test": test, "target_loss": None}
    write_run(tmp_path / "runs" / "other", "gru", **other)
    write_run(tmp_path / "runs" / "failed", "gru", 4, status="failed", task="50 % of $x_1 & #2")
    return tmp_path / "runs"


def test_csv_has_a_row_per_group_and_numbers_in_full(runs, tmp_path, capsys):
    path = tmp_path / "new" / "table.csv"
    compare.main([str(runs), "--csv", str(path)])
    assert f"csv: {path}" in capsys.readouterr().out
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["group"]) for row in rows] == [
        ("50 % of $x_1 & #2", "gru"),
        ("copy memory, T = 5", "ortho"),
        ("copy memory, T = 5", "lstm"),
    ]
    gru, ortho, lstm = rows
    assert float(lstm["test_recall_mean"]) == statistics.fmean([0.1, 0.1 + 1e-9, 0.12])
    assert float(ortho["test_recall_low"]) < 0.93 < float(ortho["test_recall_high"])
    assert (ortho["test_recall_n"], ortho["seeds"], ortho["parameters"]) == ("3", "0 1 2", "1234")
    assert ortho["against_best"] == "best"
    assert lstm["against_best"] == "worse"
    assert 0 < float(lstm["p_holm"]) < 0.05
    assert float(ortho["largest_orthogonality_error_max"]) == pytest.approx(3e-7)
    assert (gru["finished"], gru["failed"], gru["test_recall_mean"]) == ("1", "1", "")
    assert (gru["test_error_x_mean"], gru["test_error_x_low"]) == ("0.5", "")


@pytest.mark.parametrize("kind", ["csv", "latex", "html"])
def test_a_dash_leaves_the_standard_output_to_the_file_alone(kind, runs, capsys):
    assert compare.main([str(runs), f"--{kind}", "-"]) == 0
    printed = capsys.readouterr()
    if kind == "csv":
        assert len(list(csv.reader(io.StringIO(printed.out)))) == 4
    assert printed.out.startswith({"csv": "task,", "latex": "% ", "html": "<!doctype"}[kind])
    assert "| model" not in printed.out
    assert "| model" in printed.err


def test_latex_is_escaped_and_has_the_best_in_bold(runs, tmp_path):
    path = tmp_path / "table.tex"
    compare.main([str(runs), "--latex", str(path)])
    text = path.read_text(encoding="utf-8")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"50 \% of \$x\_1 \& \#2" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\[3pt]")]
    assert len(rows) == 3
    (ortho,) = (row for row in rows if row.startswith("ortho &"))
    (lstm,) = (row for row in rows if row.startswith("lstm$^{-}$ &"))
    assert r"\textbf{\boldmath 93.0\%} \\ \scriptsize [91.0\%, 95.0\%]" in ortho
    assert r"\textbf" not in lstm
    assert len({row.count(" & ") for row in rows if "gru" not in row}) == 1
    assert "% failed: gru, seed 4: the loss is nan" in text
    assert r"$^{-}$ significantly worse than the best (Welch's t-test on the test recall" in text


def test_bold_is_the_better_way_of_each_column(tmp_path):
    for model, loss, recall in (("a", 0.1, 0.9), ("b", 0.2, 0.8)):
        write_run(tmp_path / model, model, values=(1.0, loss), test={"loss": 0.3, "recall": recall})
    path = tmp_path / "table.tex"
    compare.main([str(tmp_path), "--latex", str(path)])
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if "[3pt]" in line]
    bold = [[r"\textbf" in cell for cell in row.split(" & ")[4:7]] for row in rows]
    assert bold == [[True, False, True], [False, False, False]]  # not where all are equal


def test_latex_escapes_every_special_sign_and_writes_powers_of_ten():
    assert (
        escape_latex("a_b^~\\{}") == r"a\_b\textasciicircum{}\textasciitilde{}\textbackslash{}\{\}"
    )
    assert latex_number("[5.6e-04, 1e+30]") == r"[$5.6 \cdot 10^{-4}$, $1 \cdot 10^{30}$]"
    assert latex_number("12.5%") == r"12.5\%"


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        *((kind, where) for kind in ("csv", "latex", "html") for where in ("file/below", "folder")),
        ("figures", "file/below"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_any_run_is_read(
    kind, where, runs, tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(compare, "find_runs", lambda folders: pytest.fail("runs were looked for"))
    with pytest.raises(SystemExit) as stop:
        compare.main([str(runs), f"--{kind}", str(tmp_path / where)])
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot be written" in last
    assert str(tmp_path / where.partition("/")[0]) in last


def test_two_files_cannot_share_the_standard_output(runs, capsys):
    with pytest.raises(SystemExit):
        compare.main([str(runs), "--csv", "-", "--latex", "-"])
    assert "only one of" in capsys.readouterr().err


def test_a_refusal_leaves_the_file_that_was_there(tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_text("old")
    (tmp_path / "empty").mkdir()
    new = tmp_path / "new.tex"
    with pytest.raises(SystemExit):
        compare.main([str(tmp_path / "empty"), "--csv", str(path), "--latex", str(new)])
    assert "no runs" in capsys.readouterr().err
    assert path.read_text() == "old"
    assert not new.exists()
