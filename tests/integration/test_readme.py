"""The README's sequence, typed by a user: every command as it stands there, in its order, on a cluster of their own.

Only what makes it small is added: a few drawn pictures for the photographs, which have no splits, one epoch, ports that
nobody has.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import local, loopback
from scenerec.data.synthetic import draw_scenes
from tests.patience import PATIENCE_S
from tests.unit.test_docs import ROOT, blocks, shell_commands

PORTS = loopback.free_ports(("http", "grpc"))
SMALL = "optimize.epochs=1 data.image_size=32 optimize.global_batch_size=8 scale.workers=1"
ADDED = {
    "train": ["--yes", *(word for setting in SMALL.split() for word in ("--set", setting))],
    "serve": ["--set", f"http.port={PORTS['http']}", "--set", f"http.grpc_port={PORTS['grpc']}"],
}
SAID = {
    "train": "serve it  scenerec serve deploy photos:1",
    "submit": "best checkpoint",
    "evaluate": "A and B",
    "export": "s3://scenes/runs/photos-tf/bundles/fp32",
    "registry": "photos",
    "serve": "RUNNING",
    "predict": "holiday.jpg: ",
    "cluster": "ended ray",
}


def sequence() -> list[list[str]]:
    """The commands of the blocks on photographs."""
    scripts = [text for _, text in blocks(ROOT / "README.md", "sh") if "photos" in text]
    return [words for script in scripts for words in shell_commands(script) if words[0] == "scenerec"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone's folder with photographs; the cluster that the first command starts is ended."""
    home = tmp_path / "home"
    monkeypatch.setenv("SCENEREC_HOME", str(home))
    draw_scenes(tmp_path / "drawn", classes=3, train_per_class=10, val_per_class=1, size=48)
    (tmp_path / "drawn/train").rename(tmp_path / "photos")
    shutil.copy(next(tmp_path.glob("photos/*/*.jpg")), tmp_path / "holiday.jpg")
    yield tmp_path
    local.stop(home, purge=True)


def test_the_sequence_runs_as_it_is_written(folder: Path) -> None:
    commands = sequence()
    assert [words[1] for words in commands] == [
        *("train", "predict", "submit", "evaluate", "export", "registry", "registry", "serve", "predict", "cluster")
    ]
    for words in commands:
        shown = typed(words, folder)
        assert SAID[words[1]] in shown, f"{' '.join(words)}\n{shown}"
        if words[1] == "train":  # which does nothing twice
            again = typed(words, folder)
            assert "s3://scenes/runs/photos: is trained already" in again
            assert SAID["train"] in again
    for report in ("photos.html", "compared.html"):
        assert (folder / report).read_text().endswith("</html>\n")


def typed(words: list[str], folder: Path) -> str:
    """What a command of README shows, which a user types there who has none of our variables."""
    ours = ("AWS_", "RAY_")  # the commands find the cluster by themselves
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    here = [word.replace("localhost:8000", f"localhost:{PORTS['http']}") for word in words[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "scenerec", *here, *ADDED.get(words[1], [])],
        capture_output=True, text=True, timeout=2 * PATIENCE_S, cwd=folder, env=environment, check=False,
    )  # fmt: skip
    shown = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(words)}\n{shown}"
    return shown
