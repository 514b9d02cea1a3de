"""The wheel, built and installed: it has the program and everything that it reads at run time."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

import scenerec
from scenerec.errors import MissingPartError
from tests.borrowed_site import brought_by, link
from tests.drawn_video import draw_video
from tests.patience import PATIENCE_S
from tests.tiny_bundle import make_tiny_bundle

pytestmark = pytest.mark.slow

ROOT = Path(scenerec.__file__).parents[1]
ROOMS = ("scenerec", "cluster", "jobs", "serve")
LEFT_OUT = [Path("cluster") / folder for folder in ("images", "kuberay", "launcher", "systemd")]
"""By what is in them others start a cluster, from the repository."""
LARGE = {"torch", "tensorflow", "keras", "ray", "onnx", "boto3", "botocore", "pyarrow", "pandas", "optuna", "grpcio"}
LARGEST_MEMORY_MB = 300

MEASURED = """
import sys
sys.argv = ["scenerec", *sys.argv[1:]]
from scenerec.cli import main
try:
    main()
finally:
    from pathlib import Path
    (peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(int(peak) // 1000)
"""
EVERY_COMMAND = """
import json, sys
from typer.testing import CliRunner
from scenerec.cli import COMMANDS, app
from scenerec.commands.lazy import Group
def ran(words):
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stdout, done.stderr
paths = [[name, *below] for name, entry in COMMANDS.items()
         for below in ([[each] for each in entry.commands] if isinstance(entry, Group) else [[]])]
helps = {" ".join(path): ran([*path, "--help"])[:2] for path in paths}
print(json.dumps({"helps": helps, "typed": {words: ran(words.split()) for words in sys.argv[1:]}}))
"""
"""The help of every command, and what comes of some, in one process."""
MISSING = {
    "watch ./bundle --camera 0": "watch",
    "watch a.tflite --frames .": "tflite",
    "predict a.jpg --model s3://scenes/bundle": "s3",
    "predict a.jpg --model ./bundle --explain heat": "train",
    "predict . --model ./bundle --output answers": "parquet",
    "cluster up": "cluster",
    "submit train.yaml": "train",
    "serve deploy photos@production": "serve",
    "demo": "all",
}
"""Commands, and the part that they lack in a light installation."""
PREDICT = "predict a.jpg --model ./bundle -k 1"
PREDICT_MANY = f"{PREDICT} --output answers.csv"


def run(*arguments: object, cwd: Path, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run(
        [*map(str, arguments)], cwd=cwd, env=variables, capture_output=True, text=True, timeout=2 * PATIENCE_S
    )
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


class TestLight:
    """What `pip install scenerec` brings, by the wheel's own list: nothing else is on the path."""

    @pytest.fixture(autouse=True)
    def material(self, tmp_path: Path) -> None:
        make_tiny_bundle(tmp_path / "bundle")
        Image.new("RGB", (40, 30), (250, 10, 10)).save(tmp_path / "a.jpg")
        (tmp_path / "a.tflite").touch()
        shutil.copy(ROOT / "jobs" / "recipes" / "folder-resnet18.yaml", tmp_path / "train.yaml")

    def program(self, wheel: Path, parts: set[str], tmp_path: Path, *arguments: str) -> str:
        """What Python prints with the wheel and what these parts of it ask for; "" is what all have."""
        site = tmp_path / "site"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
            (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
            lines = HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist", [])
        found = map(Requirement, lines)
        wanted = [each for each in found if any(not each.marker or each.marker.evaluate({"extra": p}) for p in parts)]
        brought = brought_by(wanted)
        assert brought >= {"onnxruntime", "numpy", "httpx", "typer"} and not LARGE & brought
        link(brought, site)
        done = subprocess.run(
            [sys.executable, "-S", "-c", *arguments],  # -S: without this environment's packages
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site), "SCENEREC_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_commands_help_predict_and_name_the_part_that_they_lack(self, wheel: Path, tmp_path: Path) -> None:
        found = json.loads(
            self.program(wheel, {""}, tmp_path, EVERY_COMMAND, PREDICT, PREDICT_MANY, *MISSING).splitlines()[-1]
        )
        assert len(found["helps"]) > 30
        assert {name: said for name, (code, said) in found["helps"].items() if code or "Usage" not in said} == {}
        assert found["typed"].pop(PREDICT) == [0, "a.jpg: red 100.0%\n", ""]
        assert found["typed"].pop(PREDICT_MANY)[0] == 0
        assert f"{tmp_path}/a.jpg,red,0.99" in (tmp_path / "answers.csv").read_text()
        told = {words: (code, errors.splitlines()[-1]) for words, (code, _, errors) in found["typed"].items()}
        assert {words: code for words, (code, _) in told.items()} == dict.fromkeys(MISSING, MissingPartError.exit_code)
        for words, part in MISSING.items():
            assert told[words][1].startswith(f"error: scenerec {words.split()[0]}")
            assert told[words][1].endswith(f": pip install 'scenerec[{part}]'")

    def test_a_video_is_watched_in_little_memory(self, wheel: Path, tmp_path: Path) -> None:
        draw_video(tmp_path / "a.mp4", [("red", 20), ("blue", 20)], (1280, 720))
        command = ["watch", "./bundle", "--video", "a.mp4", "--every-frame", "--dwell", "0.1"]
        red, blue, end, peak_mb = self.program(wheel, {"", "watch"}, tmp_path, MEASURED, *command).splitlines()
        assert red.endswith("red 100.0%") and "blue" in blue and end.startswith("40 frames in ")
        print(f"{peak_mb} MB")
        assert int(peak_mb) < LARGEST_MEMORY_MB
