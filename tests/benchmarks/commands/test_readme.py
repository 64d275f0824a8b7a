"""What the README promises: its commands run, its example works, its extras exist."""

import configparser
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import compare, dashboard, drift, generate, gradients, speed
from benchmarks.cli.train import main
from benchmarks.results import command as results
from benchmarks.results import text as readme
from tests.benchmarks.commandline import TINY
from tests.benchmarks.sweeping import finish, start

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / name for name in (*readme.README_PAGES, "results/README.md")]
README = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for language, text in BLOCKS if not language for line in text.splitlines()]
COMMANDS = sorted({part.strip() for line in LINES for part in line.split("&&")})
SHORT = {
    "speed": (speed.main, ["--quick", "--repeats", "1"]),
    "drift": (drift.main, ["--size", "6", "--steps", "3"]),
    "gradients": (gradients.main, ["--steps", "2", "--delay", "5"]),
}
DEAR = re.compile(r"benchmarks\.speed|hydra/(launcher|sweeper)|seed=0,1,2")


def test_there_is_one_setup_command_for_each_use():
    installs = [c for c in COMMANDS if c.startswith("pip install")]
    assert len(installs) == 2
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for command in installs:
        (extra,) = re.findall(r"\.\[(\w+)\]", command)
        assert extra in setup["options.extras_require"]
        assert "-c constraints.txt" in command
    assert [line for line in LINES if "&& pytest" in line]


@pytest.fixture
def here(tmp_path, monkeypatch, undrawn):
    """An empty folder in which a benchmark can be called as from a shell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    (tmp_path / "my_text.txt").write_text("It was a dark and stormy night. " * 99, encoding="utf-8")
    threads = torch.get_num_threads()

    def call(name, *arguments):
        sweep = ["-m"] if "-m" in arguments else []
        given = [a for a in arguments if a != "-m"]
        quiet = [] if any(a.startswith("logger=") for a in given) else ["logger=disabled"]
        tiny = [
            a for a in TINY[name] if a != "data.name=null" or not any("path" in b for b in given)
        ]
        monkeypatch.setattr(sys, "argv", ["x", *sweep, *given, *quiet, *tiny])
        main(name)
        return sorted(path.parent for path in tmp_path.rglob("loss.png"))

    yield call
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=pytest.mark.slow if DEAR.search(c) else ())
        for c in COMMANDS
        if c.startswith("python -m")
    ],
)
def test_every_command_runs(command, here, tmp_path, capsys):
    _, _, module, *arguments = shlex.split(command)
    name = module.removeprefix("benchmarks.")
    if name in SHORT:
        program, more = SHORT[name]
        assert program([*arguments, *more]) == 0
        assert list(tmp_path.rglob("gradients.png")) or name != "gradients"
    elif name == "compare":
        assert here("copy")
        assert compare.main(arguments) == 0
        assert (tmp_path / "runs" / "compare-1.png").exists()
    elif name == "results":
        if arguments[0] != "list":
            pytest.skip("test_results.py trains a tiny experiment, test_kept_results.py checks")
        assert results.main(arguments) == 0
    elif name == "dashboard":
        assert dashboard.main([*arguments, "--spec", str(tmp_path / "workspace.json")]) == 0
    elif "optuna" in command:  # which warns of itself when it is imported
        given = [argument for argument in arguments if argument != "-m"]
        finish(start(tmp_path, *given, "hydra.sweeper.n_trials=2"))
        assert len(list(tmp_path.rglob("run.json"))) == 2
    elif "submitit_slurm" in command:
        pytest.skip("needs a Slurm cluster")
    elif name == "generate":
        (folder,) = here("language")
        real = [a.replace("FOLDER", str(folder)) for a in arguments]
        assert real != arguments
        capsys.readouterr()
        assert generate.main(real) == 0
        assert capsys.readouterr().out.startswith("my ")
    else:
        assert here(name, *arguments)


def run_example(index):
    examples = [text for language, text in BLOCKS if language == "python"]
    assert len(examples) == 5
    names = {}
    exec(examples[index], names)
    return names


def test_the_example_of_switched_networks_steps_and_is_not_reduced_before_it_has_learned(capsys):
    names = run_example(3)
    w = names["rnn"].weight_hh
    torch.testing.assert_close(w.mT @ w, torch.eye(8).expand_as(w), rtol=0, atol=1e-5)
    assert names["output"].shape == (256, 16, 8)
    assert "got none" in capsys.readouterr().out


def test_the_example_of_a_foreign_checkpoint_loads_it():
    names = run_example(1)
    w = names["new"].weight_hh_l0.detach()
    torch.testing.assert_close(w.T @ w, torch.eye(128), rtol=0, atol=1e-5)
    u, _, vh = torch.linalg.svd(names["old"].weight_hh_l0.detach())
    torch.testing.assert_close(w, u @ vh, rtol=0, atol=1e-4)
    assert torch.equal(names["new"].bias_ih_l0, names["old"].bias_ih_l0)


def test_the_example_of_a_long_sequence_has_its_gradients():
    names = run_example(2)
    assert names["loss"].shape == (10_000, 4)
    assert names["h_n"].shape == (1, 4, 128)
    assert names["rnn"].weight_hh_l0.grad.norm() > 0


def test_the_example_works_and_the_weight_stays_orthogonal():
    names = run_example(0)
    w = names["rnn"].weight_hh_l0.detach()
    torch.testing.assert_close(w.T @ w, torch.eye(128), rtol=0, atol=1e-5)
    assert names["output"].shape == (50, 32, 128)
    assert names["h_n"].shape == (1, 32, 128)


def test_the_example_of_the_manifold_finds_the_leading_eigenvectors():
    names = run_example(4)
    x = names["x"].detach()
    torch.testing.assert_close(x.T @ x, torch.eye(16), rtol=0, atol=1e-5)
    found = (x.T @ names["a"] @ x).trace().item()
    assert found == pytest.approx(sum(range(48, 64)), rel=1e-3)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_what_a_page_links_to_is_there(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            name, _, heading = target.partition("#")
            assert (page.parent / name).is_file(), target
            assert heading in headings(page.parent / name), target


def headings(page):
    """The names by which links reach the headings of a page; the empty one is the page itself."""
    if page.suffix != ".md":
        return [""]
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return ["", *(re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in found)]


def test_the_first_page_is_read_in_five_minutes():
    page = PAGES[0].read_text(encoding="utf-8").partition("\n## References\n")[0]
    text = re.sub(r"^```.*?^```|^\|.*?$", "", page, flags=re.M | re.S)
    assert len(text.split()) < 5 * 250


def test_constraints_pin_every_requirement():
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["install_requires"]
    listed += "".join(setup["options.extras_require"].values())
    required = set(re.findall(r"^([\w-]+)(?=[><=]|$)", listed, re.MULTILINE)) - {"orthornn"}
    assert len(required) > 8
    assert {name.lower() for name in required} <= pinned
