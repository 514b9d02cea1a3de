"""A little of `make fuzz` in every run of the tests: odd weight files and odd YAML."""

import pytest

from tests.weight_fuzz import fuzz_weights
from tests.yaml_fuzz import fuzz_yaml


@pytest.mark.slow
def test_odd_weight_files_are_read_or_refused_in_a_line() -> None:
    found = fuzz_weights(100, seed=2, formats=("torch", "safetensors"))
    assert found.wrong == []
    assert found.inputs == 200
    assert found.outcomes.keys() == {"weights", "ModelError", "StateError"}


def test_odd_configs_are_taken_or_refused_in_lines() -> None:
    found = fuzz_yaml(80, seed=1)
    assert found.wrong == []
    assert found.outcomes.keys() == {"config", "refused"}
