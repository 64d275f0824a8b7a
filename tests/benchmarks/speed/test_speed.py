"""The speed benchmark as a command: what it prints, writes, draws and refuses."""

import json
import re
import statistics
import sys

import pytest
import torch

from benchmarks import speed
from benchmarks.speed import command, environment, text
from benchmarks.speed.cases import layers, peers
from benchmarks.speed.figure import ratio_figure
from benchmarks.speed.suites import SUITES
from benchmarks.speed.table import MEMORY, THROUGHPUT, TIME, MeasuredTable, SpeedPlan

CPU = torch.device("cpu")
PLAN = SpeedPlan(CPU, sizes=None, quick=True, threads=1, repeats=2)
REFERENCES = ("nn.RNN relu", "geoopt RiemannianAdam, QR", "geoopt QR")


def measured(unit=TIME, **values):
    return MeasuredTable("layers", "a table", unit, ("first",), frozenset({"second"}), values, {})


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """What a quick run of all parts prints, and the files that it writes."""
    folder = tmp_path_factory.mktemp("speed")
    files = ["--json", str(folder / "speed.json"), "--plot", str(folder / "speed.svg")]
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr(command, "print", lambda *a, **_: lines.extend(a), raising=False)
        code = speed.main(["--quick", "--repeats", "2", *files])
    return code, "\n".join(map(str, lines)), folder


@pytest.mark.slow
def test_a_quick_run_measures_every_part_beside_its_reference(everything):
    code, printed, folder = everything
    assert code == 0
    assert "1 thread(s)" in printed
    report = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    assert {t["part"] for t in report["tables"]} == set(SUITES)
    for name in REFERENCES:
        assert f"1.00 x {name}" in printed
    assert "100.0 % of torch.mm" in printed
    header = report["header"]
    assert header["torch"] == torch.__version__
    assert header["repeats"] == 2
    assert header["device_name"] in printed


def test_the_file_holds_every_value_and_its_medians_are_those_that_are_printed(everything):
    _, printed, folder = everything
    report = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    blocks = {b.splitlines()[0]: b.splitlines()[1:] for b in printed.split("\n\n") if b}
    for found in report["tables"]:
        part = SUITES[found["part"]]
        lines = blocks[found["title"]]
        assert len(lines) == len(found["values"])
        for (name, values), line in zip(found["values"].items(), lines, strict=True):
            assert len(values) == (1 if "memory" in found["part"] else 2)
            shown = re.fullmatch(
                rf"  {re.escape(name)} +(\S+) {part.unit.shown}  \[(\S+), (\S+)\].*", line
            )
            expected = (statistics.median(values), min(values), max(values))
            kept = [float(number) for number in shown.groups()]
            assert kept == pytest.approx([part.unit.scale * e for e in expected], rel=6e-3)


def test_the_figure_is_written_in_the_format_of_its_name(everything):
    assert "<svg" in (everything[2] / "speed.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("unit", [TIME, MEMORY, THROUGHPUT], ids=lambda unit: unit.shown)
def test_bars_end_at_the_ratios_of_the_medians_with_the_best_on_top(unit):
    values = {"first": [2.0, 2.0], "second": [1.0, 3.0, 0.9], "third": [5.0, 8.0, 6.0]}
    drawn = ratio_figure(environment.make_header(PLAN), [measured(unit, **values)])
    (axes,) = drawn.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    best_first = ["second", "first", "third"]
    ratios = {"first": 1.0, "second": 0.5, "third": 3.0}
    if unit.more:  # the reference is the best of its kind, here the only one
        best_first.reverse()
    assert labels == best_first
    assert axes.yaxis_inverted()
    left = 0.0 if unit.more else 1.0
    ends = [left + bar.get_width() for bar in axes.patches]
    assert ends == pytest.approx([ratios[name] for name in labels])
    (whiskers,) = axes.collections
    low, high = whiskers.get_segments()[labels.index("second")][:, 0]
    assert (low, high) == pytest.approx((0.45, 1.5))
    colours = {bar.get_facecolor() for bar in axes.patches}
    assert len(colours) == 2  # our own stand out
    assert 1.0 in [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]


def test_a_figure_without_any_ratio_is_still_one():
    assert (
        ratio_figure(environment.make_header(PLAN), [measured(first=[0.0], second=[1.0])]).axes
        == []
    )


def test_markdown_is_one_table_that_says_the_same(capsys):
    options = ["--quick", "--repeats", "1", "--parts", "retractions"]
    for more, shown in (["--markdown"], True), ([], False):
        assert speed.main([*options, *more]) == 0
        assert ("|---|---|---|---|" in capsys.readouterr().out) == shown
    shown = text.markdown_text(measured(first=[2.0], second=[1.0, 3.0, 1.0])).splitlines()
    assert shown[0] == "**a table**"
    assert shown[2:] == [
        "|  | ms | least, most | x first |",
        "|---|---|---|---|",
        "| first | 2000.00 | 2000.00, 2000.00 | 1.00 |",
        "| second | 1000.00 | 1000.00, 3000.00 | 0.50 |",
    ]


@pytest.mark.parametrize("package", ["geotorch", "torchrecurrent"])
def test_a_peer_that_is_not_installed_is_left_out_by_name(package, monkeypatch, capsys):
    pytest.importorskip(package)
    names = [name for name, peer in peers.PEER_LAYERS.items() if peer.package == package]
    monkeypatch.setitem(sys.modules, package, None)
    assert speed.main(["--quick", "--repeats", "1", "--parts", "layers"]) == 0
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if "OrthoRNN" not in line]
    for word in (*names, package, '".[peers]"'):
        assert word in line
    assert not any(name in printed.out for name in names)
    assert "torch orthogonal, loop" in printed.out


def test_one_that_fails_is_told_and_takes_nobody_along(monkeypatch, capsys):
    def broken(size):
        raise RuntimeError("not enough\nmemory")

    monkeypatch.setitem(layers.TORCH_LAYERS, "nn.GRU", broken)
    assert speed.main(["--quick", "--repeats", "1", "--parts", "layers"]) == 1
    found = capsys.readouterr().out
    assert (
        found.count("nn.GRU                           failed: RuntimeError: not enough memory") == 1
    )
    assert "nn.LSTM" in found


def test_only_keeps_the_reference_and_the_names_asked_for(capsys):
    options = ["--quick", "--repeats", "1", "--parts", "layers", "optimizers", "--only"]
    assert speed.main([*options, "lstm"]) == 0
    printed = capsys.readouterr().out
    assert "nn.LSTM" in printed
    assert "nn.RNN relu" in printed
    assert "nn.GRU" not in printed
    assert "optimizer step" not in printed  # a reference alone says nothing
    with pytest.raises(SystemExit) as stopped:
        speed.main([*options, "lsmt"])
    assert stopped.value.code == 2
    assert "nn.LSTM" in capsys.readouterr().err.splitlines()[-1]


REFUSED = {
    "--sizes 1,2,3": ["T,B,I,H", "'1,2,3'"],
    "--sizes 10,2,3,0": ["10,2,3,0"],
    "--sizes 10,2,3,-4": ["10,2,3,-4"],
    "--sizes a,b,c,d": ["a,b,c,d"],
    "--sizes 10,2,3,4.5": ["T,B,I,H", "10,2,3,4.5"],
    "--sizes 1,1,1,1 nonsense": ["nonsense"],
    "--sizes 1000000,1000000,10,1000": ["1000000", "GB"],
    "--sizes 1,1,1,1 --quick": ["--quick", "--sizes"],
    "--sizes 1,1,1,1 --parts optimizers": ["--sizes", "optimizers"],
    "--parts layer": ["'layer'", *SUITES],
    "--repeats 0": ["--repeats"],
    "--threads 0": ["--threads"],
    "--plot a.txt": [".png", ".svg", ".pdf", "a.txt"],
    "--plot nowhere/a.png": ["nowhere"],
    "--json nowhere/a.json": ["nowhere"],
    "--device tpu": ["tpu", "cpu", "cuda"],
    **({} if torch.cuda.is_available() else {"--device cuda": ["cuda", "GPU"]}),
}


@pytest.mark.parametrize("line", REFUSED)
def test_nonsense_is_one_clear_error_before_anything_is_measured(line, capsys, monkeypatch):
    monkeypatch.setattr(command, "_measure_table", None)
    with pytest.raises(SystemExit) as stopped:
        speed.main(line.split())
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    last = printed.err.splitlines()[-1]
    assert ": error: " in last
    for word in REFUSED[line]:
        assert word in last


def test_what_is_measured_is_not_lost_with_what_is_not(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(SUITES, "retractions", SUITES["retractions"]._replace(measure=stop))
    path = tmp_path / "speed.json"
    options = ["--quick", "--repeats", "1", "--parts", "optimizers", "retractions"]
    with pytest.raises(KeyboardInterrupt):
        speed.main([*options, "--json", str(path)])
    assert [t["part"] for t in json.loads(path.read_text())["tables"]] == ["optimizers"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "a.json").mkdir()
    options = ["--quick", "--repeats", "1", "--parts", "retractions"]
    assert speed.main([*options, "--json", str(tmp_path / "a.json")]) == 1
    assert "cannot be written" in capsys.readouterr().err.splitlines()[-1]
