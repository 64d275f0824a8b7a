"""Runs as if they had been trained: folders with the files that a run leaves behind."""

import json

from benchmarks.records.summary import summarise

CONFIG = {
    "seed": 0,
    "model": {"hidden_size": None},
    "train": {"batch_size": 4},
    "optimizer": {"algorithm": {"_target_": "orthornn.RiemannianRMSprop"}},
    "logger": {"mode": "offline"},
}


def losses(*values):
    return [
        {"step": i, "loss": v, "seconds": 2.0 * i, "orthogonality_error": 1e-7 * i}
        for i, v in enumerate(values, start=1)
    ]


def write_run(
    folder, model="ortho", seed=0, values=(1.0, 0.05, 0.0005), status="finished", **other
):
    """A run whose losses are ``values``; ``other`` replaces entries of ``run.json``."""
    folder.mkdir(parents=True)
    rows = losses(*values)
    rows[-1] |= {"validation_loss": values[-1], "validation_recall": 1.0}
    write_records(folder, rows)
    about = {
        "task": "copy memory, T = 5",
        "baseline": 0.1,
        "target_loss": 1e-3,
        "metrics": {"recall": {"show": ".1%", "better": "higher"}},
        "test": {"loss": values[-1], "recall": 0.5} if status == "finished" else None,
        "model": model,
        "hidden_size": 8,
        "parameters": 1234,
        "seed": seed,
        "started": folder.name,
        "threads": 1,
        "machine": "a machine",
        "resumed": [],
        "status": status,
        "error": None if status == "finished" else "the loss is nan at step 4",
        "config": {**CONFIG, "seed": seed, "model": {"name": model}},
        "summary": summarise(rows, 0.1, 1e-3),
        "solved": status == "finished",
    }
    (folder / "run.json").write_text(json.dumps(about | other), encoding="utf-8")
    return folder


def write_records(folder, rows, name="metrics.jsonl"):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


def three_seeds(root, model, recalls, **other):
    """A group of runs with one test score per seed."""
    for seed, recall in enumerate(recalls):
        test = {"loss": 0.1, "recall": recall}
        write_run(root / f"{model}{seed}", model, seed, test=test, **other)
