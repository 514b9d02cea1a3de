import pytest
from pydantic import ValidationError

from scenerec.config.track import TrackConfig
from scenerec.frozen import first_problem


def test_an_address_may_name_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER", "10.0.0.7:5000")
    assert TrackConfig(mlflow="http://$TRACKER/").mlflow == "http://10.0.0.7:5000"
    assert TrackConfig(mlflow="databricks").mlflow == "databricks"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"mlflow": "10.0.0.7:5000"}, "mlflow: must be an address such as http://10.0.0.7:5000, not '10.0.0.7:5000'"),
        ({"mlflow": "http://anna:secret@host"}, "mlflow: has a user or password in it"),
        ({"mlflow": "http://${NO_SUCH_VARIABLE}"}, "mlflow: the environment variable ${NO_SUCH_VARIABLE} is not set"),
        ({"experiment": ""}, "experiment: must not be empty"),
        ({"every_steps": 0}, "every_steps: must be at least 1, not 0"),
        ({"every_steps": "often"}, "every_steps: must be a whole number or auto, not 'often'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TrackConfig.model_validate(fields)
    assert first_problem(refused.value).startswith(problem)
