import numpy as np
import pytest

from scenerec.models import neutral

EXPECTED = {"weight": (2, 3), "bias": (2,)}


def test_equal_keys_and_shapes_fit():
    neutral.check_fits(EXPECTED, {"bias": np.zeros(2), "weight": np.zeros((2, 3))}, "net")


def test_all_problems_stand_in_one_line():
    state = {"weight": np.zeros((3, 2)), "stray": np.zeros(1)}
    with pytest.raises(neutral.StateError) as error:
        neutral.check_fits(EXPECTED, state, "net")
    assert str(error.value) == (
        "the weights do not fit net: missing bias; unexpected stray; mis-shaped weight [3, 2] instead of [2, 3]"
    )


def test_a_long_list_is_cut():
    expected = {f"key{i}": () for i in range(10)}
    with pytest.raises(neutral.StateError, match=r"missing key0, key1, key2 and 7 more$"):
        neutral.check_fits(expected, {}, "net")
