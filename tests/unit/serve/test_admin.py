"""An application's administration: its file and its server, asked by a real client."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from scenerec.config.serve import ServeConfig
from serve.admin import Admin
from tests.patience import PATIENCE_S, wait_until

CONFIG = {"kind": "serve", "name": "tiny", "models": [{"name": "tiny", "version": "tiny@production"}]}


@pytest.fixture(autouse=True)
def writes_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.admin._WRITE_EVERY_S", 0.02)


class Application:
    """What the administration tells, and what it has done."""

    def __init__(self) -> None:
        self.revision = 1
        self.looks = 0
        self.deployed: list[ServeConfig] = []
        self.deleted: list[str] = []

    def status(self) -> dict[str, int]:
        self.looks += 1
        return {"revision": self.revision}


def with_admin(folder: Path, ask: Callable[[dict[str, Any], Application], None]) -> Application:
    """Runs an Admin while `ask` is called with what its file says, from a thread."""
    application, file = Application(), folder / "admin_x.json"

    async def run() -> None:
        admin = Admin(
            "127.0.0.1",
            file,
            application.status,
            application.deployed.append,
            application.deleted.append,
        )
        running = asyncio.create_task(admin.run())
        while not file.exists():
            assert not running.done()
            await asyncio.sleep(0.01)
        await asyncio.to_thread(ask, json.loads(file.read_text()), application)
        running.cancel()

    asyncio.run(run())
    return application


def test_who_has_the_token_deploys_and_deletes(tmp_path: Path) -> None:
    def ask(told: dict[str, Any], _: Application) -> None:
        url, headers = told["admin"]["url"], {"Authorization": f"Bearer {told['admin']['token']}"}
        assert requests.put(f"{url}/config", json=CONFIG, headers=headers, timeout=PATIENCE_S).status_code == 202
        assert requests.post(f"{url}/delete/other", headers=headers, timeout=PATIENCE_S).status_code == 202
        wrong = requests.put(f"{url}/config", json={**CONFIG, "scale": 1}, headers=headers, timeout=PATIENCE_S)
        assert (wrong.status_code, "scale" in wrong.text) == (400, True)

    application = with_admin(tmp_path, ask)
    assert application.deployed == [ServeConfig.model_validate(CONFIG)]
    assert application.deleted == ["other"]


def test_who_has_it_not_is_refused(tmp_path: Path) -> None:
    def ask(told: dict[str, Any], _: Application) -> None:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer é".encode()}):
            for method, path in (("PUT", "/config"), ("POST", "/delete/tiny")):
                answer = requests.request(
                    method, told["admin"]["url"] + path, json=CONFIG, headers=headers, timeout=PATIENCE_S
                )
                assert answer.status_code == 401

    application = with_admin(tmp_path, ask)
    assert (application.deployed, application.deleted) == ([], [])


def test_it_goes_on_after_a_write_that_failed(tmp_path: Path) -> None:
    """As on a full disk; here something stands in the way of the file's new version."""

    def ask(told: dict[str, Any], application: Application) -> None:
        stands_in_the_way = tmp_path / "admin_x.new"
        stands_in_the_way.mkdir()
        application.revision, seen = 2, application.looks
        wait_until(lambda: application.looks >= seen + 3)  # the second of which follows a write of the new revision
        assert revision_in(tmp_path) == 1
        stands_in_the_way.rmdir()
        wait_until(lambda: revision_in(tmp_path) == 2)

    with_admin(tmp_path, ask)


def revision_in(folder: Path) -> int:
    return int(json.loads((folder / "admin_x.json").read_text())["status"]["revision"])


def test_the_file_follows_the_state_and_is_its_owners_alone(tmp_path: Path) -> None:
    def ask(told: dict[str, Any], application: Application) -> None:
        assert told["status"] == {"revision": 1}
        application.revision = 2
        wait_until(lambda: revision_in(tmp_path) == 2)
        assert (tmp_path / "admin_x.json").stat().st_mode & 0o777 == 0o600

    with_admin(tmp_path, ask)
