"""The page of the comparison: whole without a network, safe, and readable in a real browser."""

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from benchmarks import compare
from benchmarks.records.files import GRADIENTS
from tests.benchmarks.fake_runs import CONFIG, three_seeds, write_records, write_run

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-parameter_budget=5000",
]


def long_run(folder, model, seed, **other):
    write_run(folder, model, seed, **other)
    rows = [
        {
            "step": k,
            "loss": 2.0 / k + seed / 10,
            "gradient_norm": 10.0 / k,
            "seconds": 0.1 * k,
            "orthogonality_error": 1e-7 * k,
        }
        for k in range(1, 801)
    ]
    for row in rows[99::100]:
        row |= {"validation_loss": row["loss"], "validation_recall": 0.5}
    write_records(folder, rows)
    looked = {"gradient_norms": [0.1 * k for k in range(1, 9)], "jacobian": [], "spectrum": []}
    write_records(folder, [{"step": 0, **looked}, {"step": 800, **looked}], GRADIENTS)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("page")
    root = tmp_path / "runs"
    for model in ("ortho", "lstm", "gru", "rnn"):
        for seed in range(3):
            config = {**CONFIG, "model": {"name": f"a_name_without_any_space_for_{model}"}}
            versions = {"torch": "2.13"}
            long_run(root / f"{model}{seed}", model, seed, config=config, versions=versions)
    tracebacks = {"error": "Error: <b>bold</b>\nmore", "traceback": "Traceback\n  <deep>"}
    config = {**CONFIG, "model": {"name": "a_name_without_any_space_for_ortho"}}
    write_run(root / "failed", "ortho", 7, status="failed", config=config, **tracebacks)
    (root / "ortho0" / "config.yaml").write_text("name: copy\n# <script>alert(1)</script>\n")
    other = {"task": "another & task", "config": {**CONFIG, "train": {"clip_grad_norm": None}}}
    write_run(root / "other", "rnn", machine="a machine", commit="abc123", **other)
    path = tmp_path / "page.html"
    assert compare.main([str(root), "--html", str(path)]) == 0
    return path


class Reader(HTMLParser):
    """Collects what tags a page has, with their attributes, and whether they are closed."""

    void = frozenset({"meta", "br", "img", "hr", "link"})

    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader.tags


def test_the_page_asks_for_nothing_outside_itself(page):
    text = page.read_text(encoding="utf-8")
    tags = read(page)
    for tag, attributes in tags:
        assert tag not in ("script", "link", "iframe", "img", "object")
        for name, value in attributes.items():
            if not name.startswith("xmlns"):
                assert "//" not in (value or ""), (tag, name)
            if name in ("src", "href", "xlink:href"):
                assert value.startswith("#")
    styles = re.findall(r"<style.*?</style>", text, re.DOTALL)
    assert not any("@import" in style or "//" in style for style in styles)
    targets = {attributes.get("id") for _, attributes in tags}
    assert set(re.findall(r'href="#([^"]+)"', text)) <= targets
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= targets
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_runs_say_is_shown_as_text_and_tracebacks_are_folded(page):
    text = page.read_text(encoding="utf-8")
    assert "<b>bold</b>" not in text
    assert "<script>" not in text
    assert "another &amp; task" in text
    folded = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", text, re.DOTALL)
    (failure,) = ((head, body) for head, body in folded if "failed" in head)
    assert "ortho, seed 7: Error: &lt;b&gt;bold&lt;/b&gt;" in failure[0]
    assert "Traceback\n  &lt;deep&gt;" in failure[1]
    assert "more" not in failure[0]


def test_the_page_has_headlines_tables_figures_settings_and_origin(page):
    text = page.read_text(encoding="utf-8")
    assert "Best test recall: " in text
    assert "equal in every seed" in text
    for heading in (
        "Learning curves",
        "Validation loss",
        "Gradient through time",
        "Gradient norm",
        "Orthogonality error",
    ):
        assert text.count(f"<b>{heading}</b>") == 1 + (
            heading in ("Learning curves", "Orthogonality error")
        )
    assert "at the last look (after step 800)" in text
    assert "# &lt;script&gt;" in text  # the file as it is
    assert "&#34;clip_grad_norm&#34;: null" in text  # where there is no file
    assert "python -m benchmarks.compare" in text
    assert "<dt>torch</dt><dd>2.13 (12 of 13 runs)</dd>" in text
    assert "<dt>commit</dt><dd>abc123</dd>" in text
    assert "<dt>threads</dt><dd>1</dd>" in text
    (row,) = re.findall(r'<tr><th scope="row">model.name</th>(.*?)</tr>', text)
    values = re.findall("<td>a_name_without_any_space_for_(.*?)</td>", row)
    assert sorted(values) == ["gru", "lstm", "ortho", "rnn"]


def test_a_group_has_one_colour_in_the_table_and_in_all_its_figures(page):
    section = page.read_text(encoding="utf-8").split("<section")[1]
    swatches = re.findall(r'<svg class="swatch".*?stroke="var\(--(hue-\d)\)"', section)
    assert swatches[:4] == ["hue-0", "hue-1", "hue-2", "hue-3"]
    figures = re.findall(r"<figure.*?</figure>", section, re.DOTALL)
    assert len(figures) == 5
    for figure in figures:
        assert {f"hue-{k}" for k in range(4)} <= set(re.findall(r"var\(--(hue-\d)\)", figure))
        assert "#0102" not in figure
        assert "currentColor" in figure


def test_many_groups_and_unfinished_ones_make_a_page_too(tmp_path):
    for k in range(14):
        three_seeds(tmp_path / str(k), f"m{k}", (0.1 * k, 0.1 * k + 0.01, 0.1 * k + 0.02))
    write_run(tmp_path / "only", "x", status="running", task="not yet")
    path = tmp_path / "page.html"
    assert compare.main([str(tmp_path), "--html", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert "4 others" in text
    assert "No run has finished yet." in text
    assert "1 unfinished" in text
    read(path)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_the_page_never_scrolls_sideways_and_reports_no_error(width, page, tmp_path):
    outer = tmp_path / "outer.html"
    outer.write_text(
        f"""<!doctype html><body><iframe id="page" style="width:{width}px;height:900px;border:0"
        srcdoc="{html.escape(page.read_text(encoding="utf-8"))}"></iframe><script>
        document.getElementById("page").onload = event => {{
          const inner = event.target.contentDocument, root = inner.documentElement;
          const shown = node => node.getClientRects().length > 0;
          const all = selector => [...inner.querySelectorAll(selector)].filter(shown);
          const text = all("figure text").map(node => node.getBoundingClientRect().height);
          document.body.textContent = "FOUND" + JSON.stringify({{
            inside: root.clientWidth, needed: root.scrollWidth,
            figures: all("figure svg").length, smallest: Math.min(...text),
            widest: Math.max(...all("figure svg").map(node => node.getBoundingClientRect().right)),
            cards: inner.defaultView.getComputedStyle(inner.querySelector("td")).display,
          }}) + "END";
        }};</script></body>""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", str(outer)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
    )
    said = re.search(r"FOUND(\{.*?\})END", done.stdout)
    assert said, done.stderr[-2000:]
    found = json.loads(html.unescape(said[1]))
    assert found["inside"] == width
    assert found["needed"] <= found["inside"]
    assert found["widest"] <= width
    assert found["figures"] == 7  # five and two; of the two sizes one is shown
    assert found["smallest"] >= 9  # pixels
    assert found["cards"] == ("flex" if width < 700 else "table-cell")
    assert "CONSOLE" not in done.stderr
