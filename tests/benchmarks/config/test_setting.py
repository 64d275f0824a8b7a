"""What tells settings apart, and the names that follow from it."""

import hashlib
import json
import re

import pytest

from benchmarks.config.fingerprint import FORMER_VALUES, fingerprint, run_name, setting, update_keys

CONFIG = {
    "name": "copy",
    "seed": 0,
    "threads": "auto",
    "logger": {"mode": "offline"},
    "orthogonal": {"init": "henaff"},
    "model": {"hidden_size": None, "init": "henaff", "nonlinearity": "modrelu"},
    "train": {"steps": 3, "clip_grad_norm": None, "decay_fraction": 0.5, "checkpoint_every": 100},
}


def changed(key, value):
    head, _, tail = key.partition(".")
    if tail:
        return CONFIG | {head: CONFIG[head] | {tail: value}}
    return CONFIG | {head: value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("seed", 3),
        ("threads", 1),
        ("rerun", "all"),
        ("logger", {"mode": "disabled"}),
        ("orthogonal.init", "haar"),
        ("train.checkpoint_every", 7),
        ("train.gradient_flow_every", 7),
        ("train.steps", 3.0),
        ("train.later", None),
        ("later", None),
        ("later", {"key": None}),
    ],
)
def test_what_changes_no_result_is_no_part_of_a_setting(key, value):
    assert fingerprint(changed(key, value)) == fingerprint(CONFIG)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("parameter_budget", 5),
        ("seeds", 5),
        ("train.steps", 4),
        ("train.decay_fraction", 0.25),
        ("train.clip_grad_norm", 1),
        ("train.save", 1),
        ("model.init", "haar"),
        ("model", {}),
        ("model.modrelu_bias", -1),
        ("optimizer", {"lr_modrelu": 0.0}),
        ("train.later", False),
        ("later", 0),
    ],
)
def test_what_can_change_a_result_does(key, value):
    assert fingerprint(changed(key, value)) != fingerprint(CONFIG)


@pytest.mark.parametrize("nonlinearity", ["tanh", "identity", None])
def test_what_is_of_modrelu_matters_to_modrelu_alone(nonlinearity):
    own = {"bias": True} if nonlinearity is None else {"nonlinearity": nonlinearity}
    plain = CONFIG | {"model": own, "optimizer": {"lr": 0.1}}
    given = CONFIG | {
        "model": {**own, "modrelu_bias": -1.0},
        "optimizer": {"lr": 0.1, "lr_modrelu": 1e-4},
    }
    assert fingerprint(given) == fingerprint(plain)


def test_the_order_of_keys_does_not_matter():
    assert fingerprint(dict(reversed(CONFIG.items()))) == fingerprint(CONFIG)


@pytest.mark.parametrize(
    ("key", "now", "former"),
    [(key, *names) for key, values in FORMER_VALUES.items() for names in values.items()],
)
def test_an_option_whose_value_was_renamed_keeps_its_fingerprint(key, now, former):
    *groups, name = key.split(".")
    before, after = {name: former}, {name: now}
    for group in reversed(groups):
        before, after = {group: before}, {group: after}
    text = json.dumps({key: former})  # what earlier versions have hashed
    assert fingerprint(before) == hashlib.sha256(text.encode()).hexdigest()[:10]
    assert fingerprint(after) == fingerprint(before)
    assert setting(after) == setting(before) == {key: now}
    assert update_keys(before) == after != before


def test_a_setting_is_dotted_and_flat():
    assert setting(CONFIG) == {
        "model.init": "henaff",
        "model.nonlinearity": "modrelu",
        "train.steps": 3,
        "train.decay_fraction": 0.5,
    }


def test_a_run_is_named_by_model_setting_and_seed():
    assert re.fullmatch(r"lstm-[0-9a-f]{10}-seed4", run_name(changed("seed", 4), "lstm"))
