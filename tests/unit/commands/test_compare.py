import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scenerec.checkpoint import BEST_FILE
from scenerec.cli import app
from scenerec.inference.evaluation.predictions import Clock, from_logits
from scenerec.training.run_folder import RunFolder
from tests.unit.commands.test_runs import make_run


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs; nothing is up."""
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    make_run(tmp_path / "runs", "slow", 0.01, [0.25, 0.75])
    make_run(tmp_path / "runs", "fast", 0.1, [0.5, 0.875, 0.5])
    return tmp_path / "runs"


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_figures_and_differences_stand_beside_each_other(output: Path) -> None:
    shown = compare(output / "slow", f"{output}/fast/").stdout
    rows = {line[:12].strip(): line[12:].split() for line in shown.splitlines()}
    assert rows["top-1"] == ["75.00%", "87.50%"] and rows["best epoch"] == ["2", "2"]
    assert rows["optimize.lr"] == ["0.01", "0.1"]
    assert shown.endswith("whether the difference is more than chance: the same with --evaluate\n")


def test_scripts_get_histories(output: Path) -> None:
    told = json.loads(compare(output / "slow", output / "fast", "--json").stdout)
    assert [len(run["history"]) for run in told] == [2, 3]
    assert told[0]["differs"] == {"optimize.lr": 0.01}


def test_the_page_has_a_curve_of_each_run(output: Path, tmp_path: Path) -> None:
    assert compare(output / "slow", output / "fast", "--report", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count("<title>fast: 50.00% after epoch 3</title>") == 1
    assert page.count("<title>slow: 75.00% after epoch 2</title>") == 1
    assert "http" not in page.replace("http-equiv", "")  # it loads nothing


def test_bad_names_are_told_before_anything_is_written(output: Path, tmp_path: Path) -> None:
    twice = compare(output / "slow", output / "slow", "--report", tmp_path / "page.html")
    assert twice.exit_code == 2 and "is named twice" in twice.stderr
    missing = compare(output / "slow", output / "none", "--report", tmp_path / "page.html")
    assert missing.exit_code == 5 and "has no config.yaml" in missing.stderr
    assert not (tmp_path / "page.html").exists()


def answer(run: Path, right: int, checkpoint: str = "step-000000002", limit: int = 40) -> None:
    """The run's best checkpoint is step-000000002; one of its checkpoints has so many of 40 images right, the first."""
    folder = RunFolder(str(run))
    folder.checkpoints.put(BEST_FILE, b'{"checkpoint": "step-000000002"}')
    labels = np.arange(40) % 3
    logits = np.eye(3, dtype=np.float32)[np.where(np.arange(40) < right, labels, (labels + 1) % 3)]
    name = f"{folder.checkpoints.url}/{checkpoint}"
    found = from_logits(name, 0, labels[:limit], logits[:limit], False, Clock(0, 0, 0, 0))
    about = {"predictor": name, "data": "/data/val", "fingerprint": "f", "crops": "1", "classes": "[]"}
    folder.storage.put("evaluations/val-f/predictions.safetensors", found.to_bytes(about))


def test_runs_that_answered_to_the_same_images_are_compared_in_pairs(output: Path, tmp_path: Path) -> None:
    answer(output / "slow", right=20)
    answer(output / "fast", right=36)
    arguments = (output / "slow", output / "fast")
    shown = compare(*arguments, "--report", tmp_path / "page.html").stdout
    words = "fast is better than slow by 40.00 points (95 % interval of fast - slow: "
    assert "40 images of /data/val:" in shown and "   90.00%  fast\n" in shown and f"   50.00%  slow  {words}" in shown
    assert words in (tmp_path / "page.html").read_text()
    slow, fast = (run["significance"] for run in json.loads(compare(*arguments, "--json").stdout))
    assert slow["against_best"]["p_value"] < 0.0001 and fast["against_best"] is None
    assert (slow["top1"], fast["top1"], slow["samples"]) == (0.5, 0.9, 40)


@pytest.mark.parametrize("other", [{"checkpoint": "step-000000001"}, {"limit": 30}])
def test_answers_of_another_checkpoint_or_to_other_images_are_not_compared(output: Path, other: dict[str, int]) -> None:
    answer(output / "slow", right=20)
    answer(output / "fast", right=36, **other)  # type: ignore[arg-type]
    assert "the same with --evaluate" in compare(output / "slow", output / "fast").stdout


def test_damaged_answers_are_named(output: Path) -> None:
    answer(output / "slow", right=20)
    (output / "slow/evaluations/val-f/predictions.safetensors").write_bytes(b"no tensors")
    refused = compare(output / "slow", output / "fast")
    assert (
        refused.exit_code == 4
        and "evaluations/val-f/predictions.safetensors: is damaged: evaluate again" in refused.stderr
    )
