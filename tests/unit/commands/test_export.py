"""`scenerec export`: what is stated of a model is checked before it is opened."""

import pytest
from typer.testing import CliRunner

from scenerec.cli import app


@pytest.mark.parametrize(
    ("option", "values", "said"),
    [
        ("--mean", "0.5,nan,0.5", "must be finite"),
        ("--std", "0.5,inf,0.5", "must be finite"),
        ("--std", "0.5,0,0.5", "a deviation above 0"),
        ("--std", "0.5,0.5", "must be three numbers"),
    ],
)
def test_means_and_deviations_are_numbers_that_can_be_divided_by(option: str, values: str, said: str) -> None:
    result = CliRunner().invoke(app, ["export", "model.pth", option, values])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {option} {values}: ")
    assert said in result.stderr
