"""The roll-out of an application in a process of Ray Serve, with the application's administration."""

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ray
from ray import serve
from typing_extensions import override

from cluster.serve_proxy import CERTIFICATE
from scenerec.config.serve import ServeConfig
from scenerec.json_object import JsonObject
from serve.admin import Admin
from serve.ray_private import node_log_folder
from serve.rollout.rollout import Rollout


class ManagedRollout(Rollout):
    """A roll-out that `scenerec serve` can ask and order about by the file and the server of its Admin.

    Args:
        deploy: deploys an application by a config, without waiting for it.
    """

    def __init__(self, deploy: Callable[[ServeConfig], None]) -> None:
        super().__init__()
        self._deploy = deploy
        self._managing: asyncio.Task[None] | None = None

    @override
    async def reconfigure(self, document: Mapping[str, Any]) -> None:
        await super().reconfigure(document)
        if self._managing is None:
            replica = serve.get_replica_context().replica_id.unique_id
            admin = Admin(
                ray.util.get_node_ip_address(),
                node_log_folder() / "serve" / f"admin_{replica}.json",
                self.status,
                self._deploy,
                partial(serve.delete, _blocking=False),
            )
            self._managing = asyncio.get_running_loop().create_task(admin.run())

    @override
    def status(self) -> JsonObject:
        """How the roll-out stands, and whether the endpoint of its node speaks TLS."""
        return {**super().status(), "tls": bool(os.environ.get(CERTIFICATE))}
