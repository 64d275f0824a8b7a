"""TensorBoard: what was logged is what was meant."""

import json
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from benchmarks.diagnostics.gradient_flow import GradientFlow
from benchmarks.loggers import RunIdentity, TensorBoardLogger
from tests.benchmarks.commandline import TINY, load

EVERYTHING = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}


def events(folder):
    """What TensorBoard reads."""
    read = EventAccumulator(str(folder / "tensorboard"), EVERYTHING)
    read.Reload()
    return read


@pytest.fixture
def language(command):
    options = ["train.gradient_flow_every=3", "logger=tensorboard", "seed=3"]
    (folder,) = command(*TINY["language"], *options, name="language")
    return folder, events(folder)


def test_tensorboard_holds_the_records(language):
    folder, read = language
    records = load(folder)[1]
    names = {name for record in records for name in record} - {"step"}
    assert names <= set(read.Tags()["scalars"])
    for name in names:
        logged = [(event.step, event.value) for event in read.Scalars(name)]
        kept = [(r["step"], pytest.approx(r[name], rel=1e-6)) for r in records if name in r]
        assert logged == kept


def test_tensorboard_holds_looks_figures_and_texts(language, capsys):
    folder, read = language
    looks = [json.loads(line) for line in (folder / "gradients.jsonl").read_text().splitlines()]
    (start, end) = read.Histograms("flow/log10_jacobian")
    assert (start.step, end.step) == (0, 3)
    assert start.histogram_value.num == len(looks[0]["jacobian"])
    assert read.Scalars("flow/jacobian_largest")[0].value == pytest.approx(looks[0]["jacobian"][0])
    for name in ("figure", "gradients", "flow/gradients"):
        assert read.Images(name)[-1].encoded_image_string.startswith(b"\x89PNG")
    texts = {
        name: read.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()
        for name in ("config", "sample")
    }
    plain = {name: "\n".join(line[4:] for line in text.split("\n")) for name, text in texts.items()}
    assert plain["sample"] == (folder / "sample.txt").read_text(encoding="utf-8")
    assert json.loads(plain["config"])["task"] == load(folder)[0]["config"]["task"]


def test_settings_stand_beside_the_results(language):
    folder, read = language
    about, _ = load(folder)
    content = read.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["seed"].number_value == 3
    assert hparams["optimizer.lr"].number_value == about["config"]["optimizer"]["lr"]
    assert hparams["model._target_"].string_value == "benchmarks.models.ortho"
    (test,) = read.Scalars("summary/test_loss")
    assert test.value == pytest.approx(about["test"]["loss"])


def test_what_came_after_the_checkpoint_is_left_out_of_a_resumed_run(tmp_path):
    def train(step, last, value):
        logger = TensorBoardLogger(RunIdentity(tmp_path, "n", "g", "copy", (), {}, {}, step))
        for k in range(step + 1, last + 1):
            logger.log_record({"step": k, "loss": value, "seconds": k})
        return logger

    train(0, 5, 1.0).writer.flush()  # and killed
    train(3, 8, 2.0).close({"status": "finished"}, {})
    logged = [(event.step, event.value) for event in events(tmp_path).Scalars("loss")]
    assert logged == [(k, 1.0 if k <= 3 else 2.0) for k in range(1, 9)]


def test_an_empty_look_and_a_missing_number_are_no_trouble(tmp_path, language):
    logger = TensorBoardLogger(RunIdentity(tmp_path, "n", "g", "copy", (), {}, {}))
    logger.log_gradient_flow(0, GradientFlow([], [], [], None), language[0] / "gradients.png")
    logger.close({"status": "failed", "steps_to_target": None}, {})
    assert events(tmp_path).Tags()["histograms"] == []


def test_without_its_extra_it_is_refused_in_one_line(command, monkeypatch, capsys, tmp_path):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=tensorboard")
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip()
    assert line == 'error: logger: tensorboard is not installed: pip install -e ".[tensorboard]"'
    assert not list(tmp_path.rglob("run.json"))
