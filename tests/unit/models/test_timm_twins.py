"""What was found of timm's architectures, and the tables that come of it."""

import pytest

from scenerec.errors import ModelError
from scenerec.models import zoo
from scenerec.models.drop_path import drops_by_itself, has_drop_path
from scenerec.models.geo import GeoSpec
from tests.bench import timm_twins
from tests.bench.record import read_rows

ROWS = [row for row in read_rows(timm_twins.NAME) if zoo.TIMM + row["arch"] not in zoo.ARCHITECTURES]


def test_the_tables_are_those_of_the_rows() -> None:
    passed = {zoo.TIMM + row["arch"]: timm_twins.entry(row) for row in ROWS if row["result"] == timm_twins.PASS}
    assert zoo.more_of_timm() == passed and list(passed) == sorted(passed)
    causes = {zoo.TIMM + row["arch"]: timm_twins.cause(row) for row in ROWS if row["result"] != timm_twins.PASS}
    assert zoo.refused_of_timm() == causes and all(causes.values())


def test_what_passed_can_be_named_and_is_as_a_chosen_one() -> None:
    entry = zoo.architecture("timm/test_vit")
    assert (entry.head, entry.image_size, entry.image_size_step) == ("head", 160, 16)
    zoo.check_image_size("timm/test_vit", 64)
    with pytest.raises(ModelError, match="multiple of 16 px, not 60: the nearest is 64"):
        zoo.check_image_size("timm/test_vit", 60)
    assert has_drop_path("timm/test_vit") and not drops_by_itself("timm/test_vit")


def test_what_did_not_pass_is_refused_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo.refused_of_timm(), "timm/lenet", "the function cumprod, used by fc (Linear)")
    with pytest.raises(ModelError) as error:
        zoo.architecture("timm/lenet")
    assert str(error.value) == (
        "timm/lenet cannot be trained here, for the function cumprod, used by fc (Linear); "
        "`scenerec models --all` lists what can"
    )


def test_coordinates_are_not_joined_before_a_head_that_convolves(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo.TimmArchitecture("timm/lenet", "head.fc", 60_000, 224, 0.001, conv_head=True)
    monkeypatch.setitem(zoo.more_of_timm(), entry.name, entry)
    GeoSpec(fusion="logits").check_suits(entry.name)
    with pytest.raises(ModelError, match="concat needs a linear head, and timm/lenet's is a convolution: take logits"):
        GeoSpec(fusion="concat").check_suits(entry.name)


def test_a_mistyped_name_of_timms_suggests_one_that_passed() -> None:
    with pytest.raises(ModelError, match="'timm/test_vit9': did you mean 'timm/test_vit"):
        zoo.architecture("timm/test_vit9")


@pytest.mark.parametrize(
    ("row", "most", "expected"),
    [
        ({"result": "untried", "converters": ""}, 60, True),
        ({"result": "pass", "converters": "old"}, 60, False),
        ({"result": "refused", "converters": "old"}, 60, True),
        ({"result": "refused", "converters": "now"}, 60, False),
        ({"result": "too large", "parameters": "70000000"}, 60, False),
        ({"result": "too large", "parameters": "70000000"}, 80, True),
    ],
)
def test_a_row_is_made_again_where_a_converter_has_changed(row: dict[str, str], most: float, expected: bool) -> None:
    assert timm_twins.is_open(row, "now", most) == expected


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("the function cumprod, used by fc (Linear)", "the function cumprod"),
        ("broadcasting of (-4,) to (-1,), used by a.b (C)", "broadcasting of ... to ..."),
        ("AssertionError: ('x', {0.1, 0.2})", "AssertionError: ..."),
    ],
)
def test_causes_are_counted_without_places_and_sizes(cause: str, kind: str) -> None:
    assert timm_twins.kind_of(cause) == kind
