"""Commands that take a bundle and are given a run. `tests/integration/test_export.py` exports one."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scenerec.checkpoint import BEST_FILE, STATE_FILE
from scenerec.cli import app
from scenerec.commands.run_bundle import bundle_of_run, model_location
from scenerec.errors import BundleError, CheckpointError
from scenerec.storage import open_storage
from tests.tiny_bundle import make_tiny_bundle

BEST, OTHER = "step-000000020", "step-000000010"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run with two checkpoints and no bundle; nothing is up."""
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCENEREC_OUTPUT", str(tmp_path / "runs"))
    monkeypatch.setenv("SCENEREC_REGISTRY", str(tmp_path / "registry"))
    url = f"{tmp_path}/runs/photos"
    open_storage(url).put("config.yaml", b"kind: train\n")
    for name in (BEST, OTHER):
        open_storage(f"{url}/checkpoints").put(f"{name}/{STATE_FILE}", b"{}")
    open_storage(f"{url}/checkpoints").put(BEST_FILE, json.dumps({"checkpoint": BEST}).encode())
    return url


def export_as(run: str, checkpoint: str) -> None:
    """As if the checkpoint had been exported."""
    make_tiny_bundle(Path(run) / "bundles/fp32")
    file = Path(run) / "bundles/fp32/bundle.json"
    info = json.loads(file.read_text())
    info["lineage"]["source"] = f"{run}/checkpoints/{checkpoint}"
    file.write_text(json.dumps(info))


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_the_bundle_of_the_best_checkpoint_is_taken(run: str) -> None:
    export_as(run, BEST)
    assert bundle_of_run(run, may_export=False) == f"{run}/bundles/fp32"


@pytest.mark.parametrize("name", [False, True])
def test_bench_takes_a_run_by_its_folder_and_by_its_name(run: str, name: bool) -> None:
    export_as(run, BEST)
    done = command("bench", "photos" if name else run, "--batch", "1", "--threads", "1", "--seconds", "0.1")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 2


def test_a_folder_of_photographs_does_not_hide_the_run_of_its_name(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here/photos/beach").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    export_as(run, BEST)
    assert command("bench", "photos", "--batch", "1", "--threads", "1", "--seconds", "0.1").exit_code == 0
    assert command("serve", "deploy", "photos", "--dry-run").exit_code == 0
    assert model_location("SOURCE", "photos") == run
    make_tiny_bundle(tmp_path / "here/photos")
    assert model_location("SOURCE", "photos") == str(tmp_path / "here/photos")


def test_what_has_to_be_exported_first_is_said(run: str) -> None:
    with pytest.raises(BundleError, match=f"{run}: it has no bundle yet: `scenerec export {run}` makes one"):
        bundle_of_run(run, may_export=False)
    export_as(run, OTHER)
    with pytest.raises(BundleError, match=f"its bundle is of {OTHER}, not its best: `scenerec export"):
        bundle_of_run(run, may_export=False)
    open_storage(f"{run}/checkpoints").delete(BEST_FILE)
    with pytest.raises(CheckpointError, match="no epoch is finished"):
        bundle_of_run(run)


def test_a_run_is_an_application_of_its_own(run: str) -> None:
    refused = command("serve", "deploy", run, "--dry-run")
    assert refused.exit_code == 8 and "it has no bundle yet" in refused.output
    export_as(run, BEST)
    for what in (run, "photos"):
        config = json.loads(command("serve", "deploy", what, "--dry-run", "--json").stdout)
        assert config["name"] == config["models"][0]["name"] == "photos"
        assert config["models"][0]["version"] == f"{run}/bundles/fp32"


def test_a_name_that_nobody_knows_is_the_registrys(run: str) -> None:
    refused = command("bench", "fotos")
    assert refused.exit_code == 9 and "no model fotos (there are: none yet)" in refused.output
    nothing = command("serve", "deploy", f"{Path(run).parent}/fotos", "--dry-run")
    assert nothing.exit_code == 2 and "no run is there" in nothing.output
