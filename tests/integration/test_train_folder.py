"""What `scenerec train` makes of a finished run. README's sequence types the command itself (test_readme.py)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scenerec.commands.finish_training import Finished, finish
from scenerec.inference.bundles.registry import Registry
from scenerec.training.run_folder import RunFolder
from tests.local_run import FinishedRun


def test_a_finished_run_becomes_one_version_however_often_it_is_asked_for(
    finished_run: Callable[[str], FinishedRun], tmp_path: Path
) -> None:
    config, result, _ = finished_run("torch")
    report, registry = tmp_path / "report.html", f"{tmp_path}/models"

    def finished() -> Finished:
        return finish(RunFolder(config.run_url), report, registry)

    first = finished()
    assert finished() == first
    assert (first.model, first.version, first.epochs) == (config.name, 1, 2)
    assert first.top1 == pytest.approx(result["best"]["val_top1"])
    assert Registry(registry).version_numbers(config.name) == [1]
    assert report.read_text().endswith("</html>\n")
