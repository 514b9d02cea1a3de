import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.job import Job
from cluster.run_record import RECORD_FILE, RunRecord
from scenerec.cli import app
from scenerec.config.train import TrainConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.training.run_folder import RunFolder
from scenerec.training.run_overview import short_keys


def make_run(
    output: Path, name: str, lr: float, top1: list[float], started_s: float = 1e9, arch: str = "resnet18"
) -> None:
    config = TrainConfig.model_validate(
        {
            "kind": "train",
            "name": name,
            "framework": "torch",
            "data": {"train": "/data/train", "val": "/data/val"},
            "model": {"arch": arch},
            "optimize": {"epochs": 3, "global_batch_size": 8, "lr": lr},
            "output": str(output),
        }
    )
    folder = RunFolder(config.run_url)
    job = Job(f"{name}-1", name, folder.url, "train", "torch", "SUCCEEDED", "", 0, started_s, started_s + 9)
    folder.storage.put(RECORD_FILE, RunRecord(job=job).model_dump_json().encode())
    folder.write_config(config)
    folder.write_metrics(
        [EpochMetrics(epoch=number, validation={"val_loss": 1 - value, "val_top1": value, "val_top5": 1.0})
        for number, value in enumerate(top1, start=1)]
    )  # fmt: skip


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs, of which one has no epoch yet; nothing is up."""
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    make_run(tmp_path / "runs", "slow", 0.01, [0.25, 0.75], started_s=1e9)
    make_run(tmp_path / "runs", "fast", 0.1, [0.5, 0.875, 0.5], started_s=2e9)
    make_run(tmp_path / "runs", "other", 0.1, [], started_s=3e9, arch="mobilenet_v3_small")
    return tmp_path / "runs"


def runs(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


def names(*arguments: object) -> list[str]:
    return [run["name"] for run in json.loads(runs(*arguments, "--json").stdout)]


def test_they_stand_beside_each_other_with_what_they_differ_in(output: Path) -> None:
    shown = [line.split("  ") for line in runs(output, "--sort", "best").stdout.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in shown]
    assert rows == [
        ["RUN", "STATUS", "EPOCHS", "BEST", "arch", "lr"],
        [f"{output}/fast", "SUCCEEDED", "3/3", "top-1 87.50%, top-5 100.00%", "resnet18", "0.1"],
        [f"{output}/slow", "SUCCEEDED", "2/3", "top-1 75.00%, top-5 100.00%", "resnet18", "0.01"],
        [f"{output}/other", "SUCCEEDED", "0/3", "-", "mobilenet_v3_small", "0.1"],
    ]


def test_scripts_get_all_values(output: Path) -> None:
    told = json.loads(runs(output, "--json").stdout)[1]
    assert told["best"]["epoch"] == 2 and told["last"]["val_top1"] == 0.5
    assert told["differs"] == {"model.arch": "resnet18", "optimize.lr": 0.1}


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ((), ["other", "fast", "slow"]),
        (("--reverse",), ["slow", "fast", "other"]),
        (("--sort", "name"), ["fast", "other", "slow"]),
        (("--sort", "best"), ["fast", "slow", "other"]),
        (("--sort", "best", "--reverse"), ["slow", "fast", "other"]),
        (("--sort", "val_loss"), ["fast", "slow", "other"]),
        (("--sort", "optimize.lr"), ["slow", "other", "fast"]),
        (("--sort", "model.arch"), ["other", "fast", "slow"]),
    ],
)
def test_they_are_sorted_and_what_has_no_value_comes_last(
    output: Path, options: tuple[str, ...], order: list[str]
) -> None:
    assert names(output, *options) == order


def test_a_key_that_no_run_has_is_refused(output: Path) -> None:
    refused = runs(output, "--sort", "val_top3")
    assert refused.exit_code == 2
    assert "--sort val_top3: no run has it: known are started, name, status, best, " in refused.stderr


def test_a_damaged_run_hides_no_other(output: Path) -> None:
    (output / "fast" / "metrics.jsonl").write_text("damaged")
    done = runs(output)
    assert done.exit_code == 0
    assert f"left out: {output}/fast/metrics.jsonl: is damaged" in done.stderr
    assert f"{output}/slow" in done.stdout and f"{output}/fast" not in done.stdout


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    assert runs(tmp_path / "none").stdout == f"no training runs in {tmp_path}/none yet: scenerec submit train.yaml\n"


def test_keys_are_short_where_they_stay_different() -> None:
    assert short_keys(["model.arch", "a.size", "b.size", "plain"]) == ["arch", "a.size", "b.size", "plain"]
