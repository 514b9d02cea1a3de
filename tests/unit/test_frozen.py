"""What is wrong with a document, in one line that names the field."""

import pytest
from pydantic import Field, ValidationError, model_validator

from scenerec.errors import DataError
from scenerec.frozen import Frozen, find_problems, first_problem, parse_json


class Inner(Frozen):
    low: int = Field(1, ge=1)
    high: int = 9

    @model_validator(mode="after")
    def _ordered(self) -> "Inner":
        if self.low > self.high:
            raise ValueError(f"low: exceeds high ({self.high})")
        return self


class Outer(Frozen):
    name: str
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    either: int | Inner = 1


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("{}", "name: is missing"),
        ('{"name": "a", "nam": 1}', "nam: unknown key"),
        ('{"name": 3}', "name: input should be a valid string, not 3"),
        ('{"name": "a", "inner": {"low": 0}}', "inner.low: input should be greater than or equal to 1, not 0"),
        ('{"name": "a", "inner": {"low": 10}}', "inner.low: exceeds high (9)"),
        ('{"name": "a", "several": [{}, {"low": 10}]}', "several.1.low: exceeds high (9)"),
        ('{"name": "a", "either": {"low": 0}}', "either: input should be a valid integer, not {'low': 0}"),
        ("[]", "input should be an object, not []"),
        ("{", "is not JSON: EOF while parsing an object at line 1 column 1"),
        ("", "is not JSON: EOF while parsing a value at line 1 column 0"),
    ],
)
def test_a_file_is_refused_in_one_line(document: str, line: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_json(Outer, document, "s3://a/b.json", DataError)
    assert str(raised.value) == f"s3://a/b.json: {line}"


def test_a_file_that_is_right_is_the_value() -> None:
    assert parse_json(Outer, b'{"name": "a", "either": {"low": 2}}', "x", DataError).either == Inner(low=2)


def test_every_problem_is_found_and_long_input_is_cut() -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate({"name": ["x" * 500], "either": {"low": 0}, "colour": "red"})
    found = find_problems(raised.value)
    assert [problem.field for problem in found] == [("name",), ("either",), ("either", "low"), ("colour",)]
    assert [problem.is_unknown_key for problem in found] == [False, False, False, True]
    assert first_problem(raised.value) == str(found[0])
    assert len(str(found[0])) < 100
