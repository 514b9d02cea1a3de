"""Evaluation of a run gives what its training saw, in both frameworks."""

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from scenerec.cli import app
from scenerec.inference.evaluation.evaluator import EvaluationRequest, examine_here
from tests.local_run import FinishedRun


@pytest.mark.parametrize(("framework", "other"), [("torch", "tensorflow"), ("tensorflow", "torch")])
def test_evaluation_reproduces_the_validation_of_training(
    finished_run: Callable[[str], FinishedRun], framework: str, other: str
) -> None:
    """With the weights' averages, by which training validates; in the other framework the answers are the same."""
    config, result, _ = finished_run(framework)
    for which in ("best", "last"):
        subject = {"target": config.run_url, "checkpoint": which}
        request = EvaluationRequest.model_validate({"subject": subject, "data": config.data.val, "batch_size": 16})
        (found,) = examine_here(request).evaluations
        assert found.predictor == result[f"{which}_checkpoint"]
        assert (found.top1, found.top5) == (result[which]["val_top1"], result[which]["val_top5"])
        assert found.loss == pytest.approx(result[which]["val_loss"], rel=1e-5)

    answer = CliRunner().invoke(
        app, ["evaluate", config.run_url, "--compare", config.run_url, "--compare-framework", other, "--json"]
    )
    assert answer.exit_code == 0, answer.output
    compared = json.loads(answer.stdout.splitlines()[-1])
    assert compared["data"]["url"] == config.data.val
    assert compared["comparison"]["agreement"] == 1
    assert compared["comparison"]["sentence"] == "A and B are right on the same images."
    assert compared["evaluation"]["loss"] == pytest.approx(compared["other"]["loss"], rel=1e-4)
