from pathlib import Path

import pytest

from cluster.address import find_address

URL = "http://head:8265"


@pytest.fixture(autouse=True)
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_a_token_is_shown_only_where_ray_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert find_address(URL).headers == {}
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert find_address(URL).headers == {"Authorization": "Bearer secret"}


def test_a_token_lies_where_rays_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert find_address(URL).headers == {}
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-home\n")
    assert find_address(URL).headers == {"Authorization": "Bearer of-home"}
    (tmp_path / "token").write_text("of-path\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert find_address(URL).headers == {"Authorization": "Bearer of-path"}
