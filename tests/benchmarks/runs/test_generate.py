"""Text from a trained language model."""

import os
import subprocess
import sys

import pytest
import torch

from benchmarks import generate, models
from benchmarks.config.errors import ConfigError
from benchmarks.models import Network, assemble
from benchmarks.runs import checkpoints
from benchmarks.runs.build import TaskSpec
from benchmarks.runs.sampling import SampleRequest, draw_token
from benchmarks.runs.sampling import generate as write
from benchmarks.runs.saved_model import load_model
from tests.benchmarks.commandline import CONF, TINY, options

ROOT = str(CONF.parent)
SYMBOLS = tuple("\nabc ")
WORDS = ("<unk>", "<eos>", "the", "cat")


def interface(symbols=SYMBOLS, level="character"):
    return TaskSpec(len(symbols), len(symbols), True, False, True, symbols, level)


def model(name="ortho", symbols=SYMBOLS):
    size = len(symbols)
    return assemble(
        getattr(models, name),
        Network(),
        hidden_size=6,
        input_size=size,
        output_size=size,
        tokens=True,
    ).eval()


class Parrot(torch.nn.Module):
    """Says the symbols one after the other, whatever it reads."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, tokens, state=None):
        following = (tokens[-1] + 1) % self.size
        logits = torch.full((1, 1, self.size), -50.0)
        logits[0, 0, following] = 50
        return logits, state


def said(network, request, faces=None):
    return "".join(write(network, faces or interface(), request))


@pytest.mark.parametrize("name", options("model"))
def test_every_model_writes_what_its_own_probabilities_say(name):
    torch.manual_seed(0)
    network = model(name)
    text = said(network, SampleRequest(run=CONF, prompt="ab", length=12, temperature=0))
    # feeding everything at once must lead to the same greedy choices
    tokens = torch.tensor([[SYMBOLS.index(s)] for s in "ab" + text])
    greedy = network(tokens)[0].argmax(-1)[:, 0]
    assert text == "".join(SYMBOLS[k] for k in greedy[1:-1])


def test_a_seed_repeats_and_another_differs():
    network = model()
    requests = [SampleRequest(run=CONF, length=60, seed=s, temperature=20) for s in (1, 1, 2)]
    texts = [said(network, request) for request in requests]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 60


def test_without_a_prompt_it_starts_as_after_a_line():
    assert said(Parrot(5), SampleRequest(run=CONF, length=4)) == "abc "
    assert said(Parrot(3), SampleRequest(run=CONF, length=2), interface(tuple("xyz"))) == "yz"


def test_words_are_spaced_and_the_unknown_word_is_never_drawn():
    faces = interface(WORDS, "word")
    assert said(Parrot(4), SampleRequest(run=CONF, prompt="the", length=1), faces) == " cat"
    text = said(
        Parrot(4), SampleRequest(run=CONF, prompt="the cat\n", length=4, temperature=3), faces
    )
    assert text.startswith("the cat")
    assert "<unk>" not in said(model(symbols=WORDS), SampleRequest(run=CONF, length=200), faces)
    assert "<eos>" not in said(model(symbols=WORDS), SampleRequest(run=CONF, length=200), faces)


def test_a_prompt_of_spaces_is_no_word():
    faces = interface(WORDS, "word")
    assert len(said(Parrot(4), SampleRequest(run=CONF, prompt=" ", length=2), faces)) > 0


@pytest.mark.slow
def test_whoever_has_enough_text_may_close_the_pipe(command):
    (folder,) = command(*TINY["language"], "logger=disabled", name="language")
    call = [sys.executable, "-m", "benchmarks.generate", f"run={folder}", "length=3000"]
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}
    )
    process.stdout.read(20)
    process.stdout.close()
    assert process.wait(timeout=100) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_temperature_and_top_k_shape_the_draw():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)

    def shares(temperature, top_k=None):
        drawn = [int(draw_token(logits, temperature, top_k, generator)) for _ in range(4000)]
        return torch.bincount(torch.tensor(drawn), minlength=4).double() / 4000

    for temperature in (0.5, 1.0, 2.0):
        expected = torch.softmax(logits / temperature, 0)
        torch.testing.assert_close(shares(temperature), expected, rtol=0, atol=0.03)
    expected = torch.softmax(logits[:2], 0)
    torch.testing.assert_close(shares(1.0, 2)[:2], expected, rtol=0, atol=0.03)
    assert shares(1.0, 2)[2:].sum() == 0
    assert shares(0.0)[0] == shares(1.0, 1)[0] == shares(1e-310)[0] == 1
    torch.testing.assert_close(shares(0.2)[0].item(), 0.993, rtol=0, atol=0.01)


def test_a_trained_run_writes_to_the_terminal(command, capsys):
    (folder,) = command(*TINY["language"], "logger=disabled", name="language")
    capsys.readouterr()
    assert generate.main([f"run={folder}", "prompt=my = (x, y) ", "length=30", "seed=3"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("my = (x, y) ")
    assert len(printed.out) == len("my = (x, y) ") + 30 + 1
    assert generate.main([f"run={folder}", "prompt=☃"]) == 2
    assert "☃" in capsys.readouterr().err


def test_a_bidirectional_model_is_refused_with_the_reason(command):
    (folder,) = command(*TINY["language"], "logger=disabled", name="language")
    saved = torch.load(folder / "best.pt", weights_only=True)
    saved["network"]["bidirectional"] = True
    checkpoints.write_file(folder / "best.pt", saved)
    with pytest.raises(ConfigError, match="an answer may depend on the past alone"):
        load_model(folder / "best.pt")


def test_what_cannot_be_written_is_one_line(command, capsys, tmp_path):
    (folder,) = command(*TINY["copy"], "logger=disabled")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "best.pt").write_bytes(b"not a checkpoint")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "best.pt").write_bytes(b"")
    capsys.readouterr()
    cases = {
        (): "run=FOLDER is missing",
        ("run=nowhere",): "nowhere/best.pt does not exist",
        (f"run={folder}",): "reads no text",
        (f"run={tmp_path}/damaged",): "holds no model",
        (f"run={tmp_path}/empty",): "holds no model",
        ("run=x", "lenght=3"): "lenght=3",
        ("run=x", "prompt"): "name=value",
        ("run=x", "length=0"): "length",
        ("run=x", "length=many"): "many",
        ("run=x", "temperature=-1"): "temperature",
        ("run=x", "temperature=nan"): "temperature",
        ("run=x", "top_k=0"): "top_k",
    }
    for arguments, words in cases.items():
        assert generate.main(arguments) == 2
        printed = capsys.readouterr()
        (line,) = printed.err.splitlines()
        assert line.startswith("error: ")
        assert words in line
        assert printed.out == ""
