"""How an application is looked at and changed from outside without a job: a file, and a small HTTP server.

The file lies among the logs of the node, which the dashboard shows. It says how the application stands, where the
server listens, and the token that it asks for: whoever may read the file may run code on the cluster anyway.
"""

import asyncio
import hmac
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web
from pydantic import ValidationError

from scenerec.config.serve import ServeConfig
from scenerec.json_object import JsonObject

_WRITE_EVERY_S = 0.5


class Admin:
    """The administration of one application, in a process on its cluster.

    Args:
        host: address of the node, on which the server listens.
        file: where the state is written.
        status: says how the application stands.
        deploy: deploys the application by another config; called from a thread, returns at once.
        delete: begins to end the application of a name; called from a thread, returns at once.
    """

    def __init__(
        self,
        host: str,
        file: Path,
        status: Callable[[], JsonObject],
        deploy: Callable[[ServeConfig], None],
        delete: Callable[[str], None],
    ) -> None:
        self._host = host
        self._file = file
        self._status = status
        self._deploy = deploy
        self._delete = delete
        self._token = secrets.token_hex(32)

    async def run(self) -> None:
        """Listens, and keeps the file up to date, until it is cancelled."""
        application = web.Application()
        application.add_routes([web.put("/config", self._put_config), web.post("/delete/{name}", self._post_delete)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, 0).start()
            host, port = runner.addresses[0][:2]
            address = {"url": f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"}
            await self._write({**address, "token": self._token})
        finally:
            await runner.cleanup()

    async def _write(self, admin: dict[str, str]) -> None:
        written = ""
        while True:
            text = json.dumps({"admin": admin, "status": self._status()})
            if text != written:
                with suppress(OSError):  # a full disk, or a session that is being cleared away: tried again
                    await asyncio.to_thread(_write_private, self._file, text)
                    written = text
            await asyncio.sleep(_WRITE_EVERY_S)

    async def _put_config(self, request: web.Request) -> web.Response:
        self._check(request)
        try:
            config = ServeConfig.model_validate_json(await request.read())
        except ValidationError as error:
            return web.Response(status=400, text=str(error))
        await asyncio.to_thread(self._deploy, config)
        return web.Response(status=202)

    async def _post_delete(self, request: web.Request) -> web.Response:
        self._check(request)
        await asyncio.to_thread(self._delete, request.match_info["name"])
        return web.Response(status=202)

    def _check(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise web.HTTPUnauthorized


def _write_private(file: Path, text: str) -> None:
    """Readers see the old file or the whole new one; others than the owner see neither."""
    temporary = file.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(text)
    temporary.replace(file)
