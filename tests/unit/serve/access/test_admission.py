import pytest

from serve.access.admission import Load
from serve.errors import RequestError


def test_what_is_under_way_is_counted_also_where_it_fails() -> None:
    load = Load()
    with load, load:
        assert load.count == 2
    with pytest.raises(ValueError), load:
        raise ValueError
    assert load.count == 0


def test_one_too_many_is_told_to_come_again() -> None:
    load = Load(most=1)
    with load:
        load.check()
        with load, pytest.raises(RequestError) as refused:
            load.check()
    assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "1"})
