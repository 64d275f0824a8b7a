"""No file of the project evaluates, unpickles or shells out what it was given."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "orthornn").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])

FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
FORBIDDEN_CALLS = {
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "tarfile.open",
    "shutil.unpack_archive",
    "pooch.Untar",
    "pooch.Unzip",
}


def dotted(node):
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def given(call, name):
    """The value of a keyword argument, None if it is absent, "?" if it is computed."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else "?"
    return None


def faults(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            if names == ["UnpicklingError"]:  # which says that nothing was unpickled
                continue
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from FORBIDDEN_MODULES.intersection(name.partition(".")[0] for name in names)
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        last = called.rpartition(".")[2]
        if called in FORBIDDEN_NAMES | FORBIDDEN_CALLS or last == "extractall":
            yield called
        if called == "torch.load" and given(node, "weights_only") is not True:
            yield "torch.load without weights_only=True"
        if given(node, "shell") not in (None, False):
            yield "shell"
        if given(node, "allow_pickle") not in (None, False):
            yield "allow_pickle"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_that_was_read_is_run(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text)",
        "import pickle",
        "from pickle import loads",
        "from pickle import UnpicklingError, loads",
        "import pickle as p",
        "yaml.load(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=wanted)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=wanted)",
        "archive.extractall(path)",
    ],
)
def test_what_would_run_it_is_found(source):
    assert list(faults(source))
