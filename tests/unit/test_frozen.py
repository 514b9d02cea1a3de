"""What is wrong with a document, in one line that names the field."""

from typing import Annotated

import pytest
from pydantic import Field, ValidationError, model_validator

from scenerec.errors import DataError
from scenerec.frozen import Frozen, Pattern, find_problems, first_problem, parse_json


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
    code: Annotated[str, Pattern("[a-z]{3}", "must have three small letters")] = "abc"


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("{}", "name: is missing"),
        ('{"name": "a", "nam": 1}', "nam: unknown key"),
        ('{"name": 3}', "name: must be text, not 3: put it in quotes"),
        ('{"name": "a", "inner": {"low": 0}}', "inner.low: must be at least 1, not 0"),
        ('{"name": "a", "inner": {"low": 10}}', "inner.low: exceeds high (9)"),
        ('{"name": "a", "several": [{}, {"low": 10}]}', "several.1.low: exceeds high (9)"),
        ('{"name": "a", "either": {"low": 0}}', "either.low: must be at least 1, not 0"),
        ('{"name": "a", "either": "x"}', "either: must be a whole number or a block with the keys low, high, not 'x'"),
        ('{"name": "a", "several": {}}', "several: must be a list, not {}"),
        ('{"name": "a", "code": "ABC"}', "code: must have three small letters, not 'ABC'"),
        ("[]", "must be a block with the keys name, inner, several, either, ..., not []"),
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
    assert [problem.field for problem in found] == [("name",), ("either", "low"), ("colour",)]
    assert [problem.is_unknown_key for problem in found] == [False, False, True]
    assert first_problem(raised.value) == str(found[0])
    assert len(str(found[0])) < 100


def test_a_pattern_stands_in_the_schema_and_takes_all_of_the_text() -> None:
    assert Outer.model_json_schema()["properties"]["code"]["pattern"] == "^[a-z]{3}$"
    assert Outer(name="a", code="xyz").code == "xyz"
    for wrong in ("abcd", "abc\n", ""):
        with pytest.raises(ValidationError):
            Outer(name="a", code=wrong)


def test_a_list_of_wrong_values_is_not_called_empty_as_well() -> None:
    class Several(Frozen):
        values: tuple[Inner, ...] = Field(min_length=1)

    assert problems(Several, {"values": [{"low": 0}]}) == ["values.0.low: must be at least 1, not 0"]
    assert problems(Several, {"values": []}) == ["values: must not be empty"]


def problems(model: type[Frozen], document: object) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(document)
    return [str(problem) for problem in find_problems(raised.value)]
