"""A wheel has all that the clone has: installed elsewhere, it runs the engine in C."""

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile

import pytest

import orthornn
from tests.forks import ROOT

pytestmark = pytest.mark.slow

CODE = "import json, orthornn; print(json.dumps([orthornn.__file__, orthornn.backends()]))"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the clone, which keeps no traces of it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "clone"
    shutil.copytree(ROOT / "orthornn", copy / "orthornn")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run(*pip, "--wheel-dir", str(folder), str(copy))
    (path,) = folder.glob("*.whl")
    return path


def test_a_wheel_has_every_source_and_nothing_but_the_library(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    sources = [
        path for path in (ROOT / "orthornn").rglob("*") if path.suffix in (".c", ".h", ".py")
    ]
    assert len(sources) > 20
    assert {str(path.relative_to(ROOT)) for path in sources} <= set(names)
    assert "orthornn/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"orthornn"}


@pytest.mark.skipif(orthornn.backends()["c"] is not None, reason="there is no compiler")
def test_an_installed_wheel_runs_the_engine_in_c(wheel, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    run(*pip, str(wheel), env=environment)
    (installed,) = (tmp_path / "venv").glob("lib/*/site-packages")
    # torch and geoopt of this environment; a path alone does not bring its editable clone
    (installed / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    file, backends = json.loads(run(python, "-c", CODE, cwd=tmp_path, env=environment))
    assert file == str(installed / "orthornn" / "__init__.py")
    assert backends["c"] is None
