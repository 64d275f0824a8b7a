"""Who may import whom: the library knows torch and geoopt, Hydra and W&B stand at the edge."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "orthornn").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# the rooms of the library, bottom up: each may open the doors before it
ROOMS = [
    "internals",
    "refusal",
    "exact",
    "linalg",
    "init",
    "geometry",
    "retraction",
    "membership",
    "upright",
    "manifold",
    "nonlinearity",
    "update",
    "charts",
    "points",
    "groups",
    "optim",
    "muon",
    "reference",
    "fused",
    "trial",
    "kernels.__init__",
    "kernels.compiler",
    "kernels.library",
    "kernels.cpu",
    "kernels.elementwise",
    "kernels.programs",
    "kernels.plan",
    "kernels.triton",
    "scan",
    "engines",
    "adjoint",
    "operator",
    "recurrence",
    "sequence",
    "precision",
    "graph",
    "parameters",
    "recurrent_weight",
    "departure",
    "cell",
    "rnn",
    "segments",
    "diagnostics",
    "__init__",
]


def imports(path):
    """Top-level names of absolute imports, and the rooms of the library that are entered."""
    absolute, rooms = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if node.level:
                rooms |= entered(path.parent, node.module, names)
            elif node.module.partition(".")[0] == "orthornn" and path in LIBRARY:
                rooms |= entered(ROOT / "orthornn", node.module.partition(".")[2], names)
            else:
                absolute.add(node.module.partition(".")[0])
    return absolute - set(sys.stdlib_module_names), rooms


def entered(folder, module, names):
    """The rooms that ``from module import names`` opens, seen from ``folder``."""
    inside = folder.joinpath(*module.split(".")) if module else folder
    paths = [inside / name for name in names] if inside.is_dir() else [inside]
    return {room(path) for path in paths}


def room(path):
    return ".".join(path.with_suffix("").parts[len(ROOT.parts) + 1 :])


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_library_knows_torch_and_geoopt_only(path):
    kernels = {"triton"} if path.stem in ("elementwise", "programs") else set()
    assert imports(path)[0] <= {"torch", "geoopt", *kernels}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_library_imports_point_downwards(path):
    here = ROOMS.index(room(path))
    assert {ROOMS.index(name) for name in imports(path)[1]} <= set(range(here))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.name)
def test_hydra_and_wandb_stand_at_the_edge(path):
    found = imports(path)[0]
    if path.name not in ("cli.py", "refusal.py", "sweep.py"):
        assert "hydra" not in found
    readers = ("assembly.py", "keys.py", "run.py", "experiment.py")
    if path.name not in ("cli.py", "refusal.py", "sweep.py", *readers):
        assert "omegaconf" not in found
    if path.parts[-2:] != ("sinks", "wandb.py") and path.name != "dashboard.py":
        assert "wandb" not in found
    if path.name != "dashboard.py":
        assert "wandb_workspaces" not in found
    if path.parts[-2:] != ("sinks", "tensorboard.py"):
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
    if path.name != "internals.py":
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
