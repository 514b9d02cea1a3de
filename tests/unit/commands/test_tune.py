"""`scenerec tune`: of a search's folder, where nothing runs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.config.file import parse_as
from scenerec.config.train import TrainConfig
from scenerec.config.tune import TuneConfig
from scenerec.search.trial_store import SearchFolder
from tests.tiny_search import invented, search_document


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def make_folder(tmp_path: Path, **fields: object) -> SearchFolder:
    config = TuneConfig.model_validate(search_document(str(tmp_path / "runs"), **fields))
    folder = SearchFolder(config.run_url)
    folder.write_config(config)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> SearchFolder:
    """A search that runs: five trials, the best of them number 3."""
    folder = make_folder(tmp_path)
    for number, top1 in enumerate([0.3, 0.5, 0.4, 0.8]):
        point = {"model.arch": ["resnet18", "mobilenet_v3_small"][number % 2], "optimize.lr": 0.01 * (number + 1)}
        folder.write(invented(number, 0.1, top1, point=point, state="stopped" if number < 3 else "running"))
    folder.write(invented(4, state="failed", point={"model.arch": "resnet18"}, reason="[bold]out of memory[/bold]"))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["tune", *map(str, arguments)])


def refused(shown: Result, exit_code: int) -> str:
    assert (shown.exit_code, shown.stdout) == (exit_code, "")
    (line,) = shown.stderr.splitlines()
    return line


def test_a_search_that_runs_is_shown(folder: SearchFolder) -> None:
    shown = run("show", folder.url)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{folder.url}: 4 of 12 trials ended"
    assert [line.split()[0] for line in lines[3:8]] == ["3", "1", "2", "0", "4"]
    assert "80.00%" in lines[3] and "mobilenet_v3_small, lr 0.04" in lines[3]
    assert lines[7].endswith("resnet18: [bold]out of memory[/bold]")
    assert "importance" in shown.stdout and "savings     3 of 5 trials stopped early" in shown.stdout
    assert f"scenerec tune config {folder.url}" in shown.stdout
    assert "report " not in shown.stdout


def test_a_search_that_is_over_names_its_report_and_best_config(folder: SearchFolder) -> None:
    folder.write(invented(3, *[0.8] * 9, point={}))
    folder.write_result({"retrained": {"best": {"val_top1": 0.875}, "run": f"{folder.url}-best"}})
    for file in ("report.html", "train.yaml"):
        folder.storage.put(file, b"-")
    shown = run("show", folder.url, "--top", 2).stdout
    assert "the search is over" in shown and "and 3 more: --top 5" in shown
    assert f"report      {folder.url}/report.html" in shown and f"config      {folder.url}/train.yaml" in shown
    assert f"retrained   top-1 87.50%: {folder.url}-best" in shown


def test_for_scripts(folder: SearchFolder) -> None:
    document = json.loads(run("show", folder.url, "--json").stdout)
    assert (document["best"], document["over"], document["report"]) == (3, False, None)
    assert [trial["number"] for trial in document["trials"]] == [3, 1, 2, 0, 4]
    assert document["trials"][0]["values"] == {"val_top1": 0.8}
    assert document["epochs"] == 8 and document["full_epochs"] == 29


def test_several_objectives_name_the_front(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, objective=["val_top1", "latency_ms"])
    for number, (top1, ms) in enumerate([(0.9, 30), (0.8, 10), (0.7, 20)]):
        folder.write(invented(number, top1, static={"latency_ms": ms}))
    shown = run("show", folder.url).stdout
    assert "LATENCY  EPOCHS" in shown and "30.00 ms" in shown and shown.count("finished, front") == 2
    assert json.loads(run("show", folder.url, "--json").stdout)["pareto"] == [0, 1]


def test_a_search_that_has_not_begun(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    shown = run("show", folder.url)
    assert (shown.exit_code, "no trial has begun yet" in shown.stdout) == (0, True)
    assert json.loads(run("show", folder.url, "--json").stdout)["best"] is None
    assert "no trial has a value yet" in refused(run("config", folder.url), 5)


def test_the_report_as_it_stands(folder: SearchFolder, tmp_path: Path) -> None:
    assert run("show", folder.url, "--report", tmp_path / "now.html").exit_code == 0
    assert "still running" in (tmp_path / "now.html").read_text(encoding="utf-8")
    shown = run("show", folder.url, "--report", tmp_path / "now.html", "--json")
    assert json.loads(shown.stdout)["best"] == 3
    assert "there is no folder" in refused(run("show", folder.url, "--report", tmp_path / "no" / "now.html"), 2)


def test_the_best_config_is_a_job(folder: SearchFolder) -> None:
    shown = run("config", folder.url)
    assert shown.exit_code == 0, shown.output
    config = parse_as(TrainConfig, shown.stdout, "train.yaml")
    assert (config.name, config.model.arch, config.optimize.lr) == ("rooms-best", "mobilenet_v3_small", 0.04)
    other = parse_as(TrainConfig, run("config", folder.url, "--trial", 0).stdout, "train.yaml")
    assert (other.name, other.model.arch, other.optimize.lr) == ("rooms-trial-0", "resnet18", 0.01)
    assert "has no trial 9" in refused(run("config", folder.url, "--trial", 9), 5)
    folder.write(invented(5, state="refused", point={"optimize.warmup_epochs": 9}, reason="no"))
    assert "do not fit each other: optimize.warmup_epochs" in refused(run("config", folder.url, "--trial", 5), 5)


def test_a_folder_may_be_named_from_where_one_is(folder: SearchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(folder.url).parent)
    assert run("show", "rooms").exit_code == 0


def test_what_is_no_search_is_refused(tmp_path: Path) -> None:
    assert "is no search's folder" in refused(run("show", tmp_path), 5)
    assert "$NOWHERE is not set" in refused(run("show", "$NOWHERE/runs"), 2)
    assert "no cluster" in refused(run("show", "rooms"), 7)
    (tmp_path / "config.yaml").write_text("kind: train\nname: x\n")
    assert "kind: is train" in refused(run("show", tmp_path), 2)
