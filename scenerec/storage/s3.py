"""Prefixes of S3 buckets as storage: retried requests, and errors that say what to do."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from scenerec.errors import NotFoundError, StorageError
from scenerec.storage.protocol import ObjectInfo, Storage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Result = TypeVar("Result")


class S3Storage(Storage):
    """A prefix of a bucket of any S3-compatible store, by the standard AWS variables and AWS_ENDPOINT_URL.

    An object's version is its ETag.
    """

    attempts = 4
    """Tries of each request; the pause before a further one doubles from half a second."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._client: S3Client | None = None
        self._client_pid = 0

    @property
    @override
    def url(self) -> str:
        """The address s3://bucket/prefix."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        request = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        while True:
            page = self._retry("", partial(self.client.list_objects_v2, **request))  # type: ignore[arg-type]
            for entry in page.get("Contents", []):
                yield ObjectInfo(entry["Key"].removeprefix(self.prefix), entry["Size"])
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    @override
    def get(self, key: str) -> bytes:
        return self._retry(key, lambda: self._read(key))[0]

    @override
    def get_range(self, key: str, start: int, length: int) -> bytes:
        if not length:
            return b""
        return self._retry(key, lambda: self._read(key, Range=f"bytes={start}-{start + length - 1}"))[0]

    @override
    def put(self, key: str, content: bytes | Path) -> None:
        """Sends large files in parts, which S3 joins at the end."""

        def upload() -> None:
            if isinstance(content, Path):
                self.client.upload_file(str(content), self.bucket, self.prefix + key)
            else:
                self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content)

        self._retry(key, upload)

    @override
    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        try:
            return self._retry(key, lambda: self._read(key))
        except NotFoundError:
            return None

    @override
    def put_if(self, key: str, content: bytes, version: str | None) -> bool:
        """Writes by S3's conditional requests."""
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}

        def write() -> bool:
            try:
                self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content, **condition)  # type: ignore[arg-type]
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status not in (404, 409, 412) or error.response.get("Error", {}).get("Code") == "NoSuchBucket":
                    raise
                # It may be ours: an answer that was lost is asked for again.
                found = self.get_versioned(key)
                return found is not None and found[0] == content
            return True

        return self._retry(key, write)

    @override
    def delete(self, key: str) -> None:
        self._retry(key, lambda: self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key))

    @override
    def size(self, key: str) -> int | None:
        try:
            head = self._retry(key, lambda: self.client.head_object(Bucket=self.bucket, Key=self.prefix + key))
        except NotFoundError:
            return None
        return head["ContentLength"]

    @property
    def client(self) -> "S3Client":
        """The boto3 client of this process: one made before a fork must not be used after it."""
        if self._client is None or self._client_pid != os.getpid():
            import boto3
            from botocore.config import Config

            # Retries are ours: botocore's do not cover a body that breaks off.
            config = Config(
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=32,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path" if os.environ.get("AWS_ENDPOINT_URL") else "auto"},
            )
            session = boto3.session.Session()
            self._client = session.client("s3", config=config, region_name=session.region_name or "us-east-1")
            self._client_pid = os.getpid()
        return self._client

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_client": None}

    def _read(self, key: str, **request: str) -> tuple[bytes, str]:
        """The content and its version."""
        response = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, **request)  # type: ignore[arg-type]
        return response["Body"].read(), response.get(
            "ETag", ""
        )  # a body that is shorter than announced is botocore's error

    def _retry(self, key: str, request: Callable[[], Result]) -> Result:
        from botocore.exceptions import BotoCoreError, ClientError

        for attempt in range(1, self.attempts + 1):
            try:
                return request()
            except (ClientError, BotoCoreError, OSError, _transfer_error()) as error:
                explained, transient = self._explain(key, error)
                if not transient or attempt == self.attempts:
                    raise explained from None
                time.sleep(0.25 * 2**attempt)
        raise AssertionError("unreachable")

    def _explain(self, key: str, error: BaseException) -> tuple[StorageError, bool]:
        """The error as the user's, and whether another try may help."""
        from botocore import exceptions as boto

        where = f"s3://{self.bucket}/{self.prefix}{key}"
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
            remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `scenerec cluster up` for an embedded store"
            return StorageError(f"{where}: no credentials: {remedy}"), False
        if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ConnectionClosedError):
            return StorageError(f"{where}: cannot reach {endpoint}: is the store up, and AWS_ENDPOINT_URL right?"), True
        if isinstance(error, boto.ParamValidationError | boto.InvalidRegionError):
            return StorageError(f"{where}: {str(error).splitlines()[-1].strip()}"), False
        if isinstance(error, boto.ClientError):
            return self._explain_response(where, endpoint, error)
        return StorageError(f"{where}: {endpoint}: {error}"), True

    def _explain_response(self, where: str, endpoint: str, error: BaseException) -> tuple[StorageError, bool]:
        response = getattr(error, "response", {})
        code = str(response.get("Error", {}).get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code == "NoSuchBucket":
            return NotFoundError(f"{where}: there is no bucket `{self.bucket}` at {endpoint}"), False
        if code in ("NoSuchKey", "404") or status == 404:
            return NotFoundError(f"{where}: no such object"), False
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken") or status in (
            401,
            403,
        ):
            remedy = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy"
            return StorageError(f"{where}: {endpoint} refuses these credentials ({code}): {remedy}"), False
        return StorageError(f"{where}: {endpoint}: {error}"), status >= 500 or code == "SlowDown"


def _transfer_error() -> type[BaseException]:
    from boto3.exceptions import Boto3Error

    return Boto3Error
