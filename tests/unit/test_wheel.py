"""The wheel, built and installed: it has the program and everything that it reads at run time."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import scenerec

ROOT = Path(scenerec.__file__).parents[1]
ROOMS = ("scenerec", "cluster", "jobs", "serve")
LEFT_OUT = [Path("cluster") / folder for folder in ("images", "kuberay", "launcher", "systemd")]
"""By what is in them others start a cluster, from the repository."""


def run(*arguments: object, cwd: Path, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run([*map(str, arguments)], cwd=cwd, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the source tree and nothing of an older build gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    run(sys.executable, "-c", build, out, cwd=source)
    (built,) = out.glob("*.whl")
    return built


def test_every_file_of_the_product_is_in_it(wheel: Path) -> None:
    files = [file.relative_to(ROOT) for room in ROOMS for file in (ROOT / room).rglob("*") if file.is_file()]
    kept = [file for file in files if not any(file.is_relative_to(folder) for folder in LEFT_OUT)]
    wanted = {str(file) for file in kept if file.suffix not in (".pyc", ".proto", ".pyi")}
    assert {Path(name).suffix for name in wanted} >= {".py", ".typed", ".html", ".csv", ".j2", ".yaml"}
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_installed_it_runs(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, which borrows what the product depends on from the one of the tests."""
    venv.create(tmp_path / "env", symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(tmp_path / "env")}))
    python = tmp_path / "env" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = tmp_path / "env" / "bin" / "scenerec"
    home = {"SCENEREC_HOME": str(tmp_path / "home")}
    assert "submit" in run(program, "--help", cwd=tmp_path, **home)
    assert run(python, "-c", "import jobs; print(jobs.__file__)", cwd=tmp_path).startswith(str(site))
    shown = run(program, "validate", site / "jobs" / "recipes" / "folder-resnet18.yaml", cwd=tmp_path, **home)
    assert "arch: resnet18" in shown
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("version", scenerec.__version__)
    assert version == scenerec.__version__ and f"scenerec-{version}-" in wheel.name
