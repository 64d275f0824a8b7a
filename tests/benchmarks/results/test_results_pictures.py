"""The figures that are made of the records."""

import json
import operator

import numpy as np
import pytest
from PIL import Image

from benchmarks.comparison.curves import Curve
from benchmarks.diagnostics.gradient_flow import CaseResult, GradientFlow
from benchmarks.results import figures
from benchmarks.results.figures import upper_limit
from tests.benchmarks.fake_runs import losses
from tests.benchmarks.keeping import TINY, call, define, edit, pretend

MEASUREMENT = """
title: gradients
command: [benchmarks.gradients, --folder, "{folder}"]
files: [gradients.json]
"""
OVERVIEW = """
overview: {learning: tiny, gradients: flow, rows: [ours]}
"""


@pytest.fixture
def overview(results):
    """Results with an overview of one of two rows; the path of its figure."""
    define(results, TINY)
    define(results, MEASUREMENT, "flow")
    text = f"experiments: [tiny, flow]\n{OVERVIEW}"
    (results / "contents.yaml").write_text(text, encoding="utf-8")
    pretend(results, "tiny", ours_seed0={}, theirs_seed3={"seed": 3})
    seen = GradientFlow([1.0, 0.5, 1.0], [1.0], [1.0], None)._asdict()
    story = CaseResult("ours", seen, seen, [1.0], [1.0], "solved")._asdict()
    content = {"title": "copy memory", "models": [story]}
    (results / "flow" / "gradients.json").write_text(json.dumps(content), encoding="utf-8")
    return results / "overview.png"


def width(path):
    """Of a figure, in inches."""
    with Image.open(path) as picture:
        return round(picture.width / 110)


def replace_loss(results, name):
    edit(results / "tiny", name, lambda run: run.records[1].update(loss=0.06))


def test_an_overview_is_of_the_rows_that_it_names(results, overview, capsys):
    assert call(results, "write") == 0
    assert width(overview) == 11
    replace_loss(results, "theirs-seed3")
    assert call(results, "check") == 1
    assert "overview.png" not in capsys.readouterr().err
    replace_loss(results, "ours-seed0")
    assert call(results, "check") == 1
    assert "overview.png" in capsys.readouterr().err


def test_an_overview_waits_for_its_gradients(results, overview):
    (results / "flow" / "gradients.json").unlink()
    assert call(results, "write") == 0
    assert not overview.exists()


def test_an_overview_of_a_row_that_there_is_not_is_refused(results, overview, capsys):
    path = results / "contents.yaml"
    path.write_text(path.read_text().replace("rows: [ours]", "rows: [ours, OURS]"))
    assert call(results, "write") == 2
    assert "no row OURS in tiny; there are: ours; theirs" in capsys.readouterr().err


def test_an_overview_of_gradients_that_are_none_is_refused(results, overview, capsys):
    path = results / "contents.yaml"
    path.write_text(path.read_text().replace("gradients: flow", "gradients: tiny"))
    assert call(results, "write") == 2
    assert "tiny has no gradients to show" in capsys.readouterr().err


def middle(*values):
    """A curve of which only the median matters."""
    return Curve(*[np.array(values, dtype=float)] * 4, 1)


def test_losses_are_drawn_up_to_a_start_but_not_up_to_a_spike():
    start = [*np.geomspace(8, 0.1, 20), *[0.1] * 180]
    spike = [*[0.1] * 1500, *[1e12] * 7, *[0.1] * 1500]
    assert 8 <= upper_limit([middle(*start), None]) <= 24
    assert upper_limit([middle(*spike), middle(*[0.2] * 1000)]) < 1
    assert upper_limit([middle(float("nan"), 2.0)]) == pytest.approx(6)
    assert upper_limit([None, middle(float("inf"))]) == float("inf")


def test_one_step_in_a_hundred_is_a_spike_however_few_there_are():
    for steps in (20, 60, 100, 200, 3000):
        smeared = [1e6] * max(1, steps // 100)
        assert upper_limit([middle(*smeared, *[0.1] * (steps - len(smeared)))]) < 1


def test_a_figure_cuts_a_spike_off(results, monkeypatch):
    define(results, TINY)
    falling = np.geomspace(0.1, 1e-5, 300).tolist()  # so that the scale is logarithmic
    pretend(results, "tiny", ours_seed0={"values": falling})
    edit(results / "tiny", "ours-seed0", lambda run: run.records[150].update(loss=1e6))
    tops = []
    monkeypatch.setattr(
        figures, "write_figure", lambda _, figure, *__: tops.append(figure.axes[0].get_ylim()[1])
    )
    assert call(results, "write") == 0
    assert max(tops) < 1


@pytest.mark.parametrize(("scores", "panels"), [(3, 1), (5, 2)])
def test_scores_that_were_taken_often_have_a_panel_of_their_own(results, scores, panels):
    define(results, TINY)
    pretend(results, "tiny", ours_seed0={"values": [0.05] * 6})
    rows = losses(*[0.05] * 6)
    for row in rows[-scores:]:
        row |= {"validation_loss": 0.05, "validation_recall": 0.5}
    edit(results / "tiny", "ours-seed0", lambda run: operator.setitem(run.records, slice(6), rows))
    assert call(results, "write") == 0
    assert width(results / "tiny" / "curves.png") == {1: 8, 2: 11}[panels]


def test_accuracies_against_the_position_have_a_figure_of_their_own(results, capsys):
    stream = {"metrics": {}, "trained_length": 2, "limit": 4, "chance": 0.5}
    define(results, TINY)
    pretend(results, "tiny", ours_seed0={}, theirs_seed3={"seed": 3})
    call(results, "write")
    path = results / "tiny" / "accuracy.png"
    assert not path.exists()

    curves = {"as trained": {"positions": [1, 2, 4], "accuracies": [1, 0.9, 0.5]}}
    pretend(results, "tiny", ours_seed0={"stream": stream, "curves": curves})
    call(results, "write")
    assert path.stat().st_size > 10_000
    alone = width(path)
    curves["reduced"] = curves["as trained"]
    pretend(results, "tiny", ours_seed0={"stream": stream, "curves": curves})
    assert call(results, "check") == 1
    assert "accuracy.png is not what the records say" in "".join(capsys.readouterr())
    call(results, "write")
    assert width(path) > alone
