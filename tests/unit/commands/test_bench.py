"""`scenerec bench`, from the command line."""

import csv
from pathlib import Path

from typer.testing import CliRunner

from scenerec.cli import app
from tests.tiny_bundle import make_tiny_bundle


def test_the_table_goes_to_a_file_whose_folder_is_looked_for_first(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle").url
    common = ["bench", bundle, "--batch", "1", "--batch", "3", "--threads", "1", "--seconds", "0.1"]
    done = CliRunner().invoke(app, [*common, "--output", str(tmp_path / "table.csv")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["batch_size"] for row in rows] == ["1", "3"]
    assert len(done.stdout.splitlines()) == 1 + len(rows)

    refused = CliRunner().invoke(app, [*common, "--output", str(tmp_path / "nowhere" / "table.csv")])
    assert refused.exit_code == 2
    assert "there is no folder" in refused.output and "P50" not in refused.output
