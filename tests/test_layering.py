"""Who may import whom: the library knows torch and geoopt, Hydra and W&B stand at the edge."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "orthornn").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# levels of packages and modules, bottom up: each imports what is below it, never beside or above
LEVELS = {
    "orthornn": [
        {"_torch_internals", "_matmul_precision", "_validation", "linalg"},
        {"init", "recurrence"},
        {"manifolds"},
        {"optim", "nn", "diagnostics"},
        {"__init__"},
    ],
    "benchmarks": [
        {"system", "config", "records", "models", "data"},
        {"tasks"},
        {"training", "diagnostics"},
        {"loggers", "comparison", "speed"},
        {"runs"},
        {"cli", "results"},
        {"copy", "adding", "tagging", "state_tracking", "pixels", "language", "__init__"},
        {"generate", "compare", "gradients", "dashboard", "drift", "upload"},
    ],
}
BESIDE = {"_torch_internals", "_matmul_precision", "_validation", "linalg"}  # in that order
NEVER = {
    ("recurrence", "init"),
    ("recurrence", "manifolds"),
    ("manifolds", "recurrence"),
    ("optim", "recurrence"),
}
ENTRIES = {"orthornn": 14, "benchmarks": 28}  # at the top of a package, at most


def module_name(path):
    """``orthornn.nn.rnn`` of ``orthornn/nn/rnn.py``; a package's is that of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in LIBRARY + BENCHMARKS}


def imports(path):
    """Names of other top-level packages that a file imports, and modules of its own package."""
    top = path.relative_to(ROOT).parts[0]
    absolute, own = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                here = path.relative_to(ROOT).parts[:-1]
                base = [*here[: len(here) - node.level + 1], *base]
            module = ".".join(base)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                absolute.add(inner if inner in MODULES else module)
    own = {name for name in absolute if name.partition(".")[0] == top}
    others = {name.partition(".")[0] for name in absolute - own}
    return others - set(sys.stdlib_module_names), own - {module_name(path)}


def room(module):
    """The package or module at the top of ``orthornn`` or ``benchmarks`` that a module is in."""
    return [*module.split("."), "__init__"][1]


def level(top, name):
    return next(i for i, names in enumerate(LEVELS[top]) if name in names)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_library_knows_torch_and_geoopt_only(path):
    kernels = {"triton"} if path.stem in ("elementwise", "kernels") else set()
    assert imports(path)[0] <= {"torch", "geoopt", *kernels}


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_imports_point_downwards(path):
    top = path.relative_to(ROOT).parts[0]
    here = room(module_name(path))
    there = {room(name) for name in imports(path)[1]} - {here}
    if here in BESIDE:
        assert there <= BESIDE
    else:
        assert all(level(top, name) < level(top, here) for name in there), there
    assert not {(here, name) for name in there} & NEVER


def test_no_module_imports_itself_over_others():
    graph = {name: imports(path)[1] & MODULES.keys() for name, path in MODULES.items()}
    # a package's __init__ re-exports what is below it; whoever imports the package imports these
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.name)
def test_nothing_imports_a_command(path):
    commands = {
        module_name(p) for p in (ROOT / "benchmarks").glob("*.py") if p.name != "__init__.py"
    }
    assert not imports(path)[1] & commands
    assert not {name for name in imports(path)[0] if name in ("conf", "tests")}


@pytest.mark.parametrize("top", LEVELS)
def test_the_top_of_a_package_shows_its_plan(top):
    entries = {path.name for path in (ROOT / top).iterdir() if path.name != "__pycache__"}
    modules = {name.removesuffix(".py") for name in entries - {"README.md", "py.typed"}}
    assert modules == set.union(*LEVELS[top])
    assert len(entries) <= ENTRIES[top]


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.name)
def test_hydra_and_wandb_stand_at_the_edge(path):
    found, name = imports(path)[0], module_name(path).partition(".")[2]
    edge = ("config.errors", "config.compose", "config.tuned", "cli.hydra_main", "cli.sweep")
    if name not in edge:
        assert "hydra" not in found
        readers = (
            "runs.config",
            "runs.build",
            "runs.train",
            "results.definition",
        )
        assert "omegaconf" not in found or name in readers
    if name not in ("loggers.wandb_run", "dashboard"):
        assert "wandb" not in found
    if name != "dashboard":
        assert "wandb_workspaces" not in found
    if name != "loggers.tensorboard":
        assert "torch.utils.tensorboard" not in path.read_text(encoding="utf-8")
    assert not {"hydra", "torch"} <= found


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.name)
def test_only_a_task_knows_its_metrics(path):
    assert path.parent.name == "tasks" or "recall" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LIBRARY + BENCHMARKS + TESTS, ids=lambda path: path.name)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_private_names_of_torch_stay_in_one_file(path):
    text = path.read_text(encoding="utf-8")
    if path.name != "_torch_internals.py":
        assert not re.findall(r"torch(?:\.\w+)*\._\w+|from torch[\w.]* import _\w+", text)


def test_importing_the_library_loads_no_benchmark_dependency_and_no_compiler():
    code = (
        "import sys, warnings; warnings.simplefilter('ignore'); import torch, geoopt; "
        "theirs = set(sys.modules); import orthornn; ours = set(sys.modules) - theirs; "
        "print(*{'hydra', 'wandb', 'matplotlib', 'pydantic', 'torch._dynamo', 'sympy'} & ours)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_public_name_is_importable_and_documented():
    import orthornn

    for name in orthornn.__all__:
        assert getattr(orthornn, name).__doc__


def test_benchmarks_without_their_extra_say_how_to_install_it():
    code = (
        "import importlib.util as u; real = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'wandb' else real(name, *a); "
        "import benchmarks"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "the benchmarks need wandb" in last
    assert '".[bench]"' in last
