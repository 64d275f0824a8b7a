"""The looks that a run takes into its model."""

import json

from tests.benchmarks.commandline import TINY, load


def test_where_there_is_nothing_to_see_no_look_is_kept(command):
    options = ["network.num_layers=2", "model.hidden_size=3", "train.gradient_flow_every=1"]
    (folder,) = command(*TINY["copy"], *options, "logger=disabled", "model=lstm")
    assert not list(folder.glob("gradients.*"))
    assert load(folder)[0]["status"] == "finished"


def test_looking_into_the_model_changes_nothing(command):
    looking = command(*TINY["copy"], "train.gradient_flow_every=1", "logger=disabled", "name=a")[-1]
    blind = command(*TINY["copy"], "train.gradient_flow_every=null", "logger=disabled", "name=b")[
        -1
    ]
    losses = [[r["loss"] for r in load(folder)[1]] for folder in (looking, blind)]
    assert losses[0] == losses[1]
    looks = [json.loads(line) for line in (looking / "gradients.jsonl").read_text().splitlines()]
    assert [row["step"] for row in looks] == [0, 1, 2, 3]
    assert len(looks[0]["gradient_norms"]) == 25
    assert not (blind / "gradients.jsonl").exists()
