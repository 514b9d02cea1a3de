import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec.cli import app
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
    assert f"scenerec evaluate {output}/slow --compare {output}/fast" in shown


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
