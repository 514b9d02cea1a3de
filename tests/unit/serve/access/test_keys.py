from pathlib import Path

import pytest

from scenerec.errors import ConfigError
from serve.access.key_file import add_key, remove_key
from serve.access.keys import ApiKeys, Guard, new_key, parse_keys, read_keys
from serve.errors import RequestError


def test_a_key_made_for_the_file_is_let_in_and_the_file_does_not_hold_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    key = add_key(str(file), "mobile", None, 20)
    assert key not in file.read_text()
    guard = Guard(read_keys(str(file))[0])
    for authorization, api_key in ((f"Bearer {key}", ""), (f"bearer  {key}", ""), ("", key)):
        caller = guard.identify(authorization, api_key)
        assert caller is not None and caller.key.name == "mobile"


@pytest.mark.parametrize(
    ("authorization", "api_key"), [("", ""), ("Basic abc", ""), ("Bearer wrong", ""), ("", "sk-x")]
)
def test_nobody_else_is_let_in(authorization: str, api_key: str) -> None:
    guard = Guard(ApiKeys(keys=(new_key("mobile")[1],)))
    with pytest.raises(RequestError) as refusal:
        guard.identify(authorization, api_key)
    assert refusal.value.status == 401
    assert refusal.value.headers["www-authenticate"] == "Bearer"


def test_without_keys_everyone_is_let_in_and_with_an_empty_file_nobody() -> None:
    assert Guard(None).identify("", "") is None
    with pytest.raises(RequestError):
        Guard(ApiKeys()).identify("", "sk-anything")


def test_a_key_of_the_same_name_replaces_the_old_one_only_where_that_is_asked_for(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.yaml")
    old, other = add_key(file, "a", None, 20), add_key(file, "b", None, 20)
    with pytest.raises(ConfigError, match="a has a key already: with `--replace`"):
        add_key(file, "a", 5, 20)
    assert Guard(read_keys(file)[0]).identify("", old)
    new = add_key(file, "a", 5, 20, replace=True)
    guard = Guard(read_keys(file)[0])
    assert guard.identify("", new) and guard.identify("", other)
    with pytest.raises(RequestError):
        guard.identify("", old)


def test_a_removed_key_is_let_in_no_more_and_an_unknown_name_is_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.yaml")
    key = add_key(file, "a", None, 20)
    with pytest.raises(ConfigError, match="no key of b; there are: a"):
        remove_key(file, "b")
    remove_key(file, "a")
    with pytest.raises(RequestError):
        Guard(read_keys(file)[0]).identify("", key)


def test_rates_are_shared_among_replicas_and_outlive_a_reload() -> None:
    now = [0.0]
    key, entry = new_key("a", images_per_s=4, burst=8)
    guard = Guard(ApiKeys(keys=(entry,)), replicas=2, clock=lambda: now[0])
    caller = guard.identify("", key)
    guard.charge(caller, 4)  # the half of the burst, which is this replica's
    with pytest.raises(RequestError) as refusal:
        guard.charge(caller, 4)
    assert (refusal.value.status, refusal.value.headers["retry-after"]) == (429, "2")
    guard.replace(ApiKeys(keys=(entry, new_key("b")[1])))
    with pytest.raises(RequestError):
        guard.charge(guard.identify("", key), 4)
    now[0] = 2.0
    guard.charge(guard.identify("", key), 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"keys: [{name: a}]", "keys.0.sha256: is missing"),
        (b"keys: [{name: a, sha256: xyz}]", "keys.0.sha256: must be the SHA-256"),
        (b"kees: []", "kees: unknown key"),
        (b"keys: [", "is not YAML"),
        (b"keys: []\nkeys: []", "keys.yaml:2: keys: stands twice"),
        (b"keys: [{name: a, sha256: %s}, {name: b, sha256: %s}]" % (b"a" * 64, b"a" * 64), "a and b have the same key"),
        (b"- a\n- b", "must be a mapping"),
        (b"\xff\xfe", "is not text"),
        (b"keys: " + b"[" * 5000, "keys.yaml:1: is nested too deeply"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_field(content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_keys(content, "keys.yaml")


def test_a_key_that_stands_in_the_file_itself_is_not_repeated() -> None:
    key = new_key("a")[0]
    for entry in (f"sha256: {key}", f"key: {key}"):
        with pytest.raises(ConfigError, match=r"keys\.0") as refusal:
            parse_keys(f"keys: [{{name: a, {entry}}}]".encode(), "keys.yaml")
        assert key not in str(refusal.value)


def test_a_missing_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scenerec serve key NAME --file"):
        read_keys(str(tmp_path / "keys.yaml"))
