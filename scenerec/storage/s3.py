"""Prefixes of S3 buckets as storage: retried requests, and errors that say what to do."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from scenerec.errors import NotFoundError, StorageError
from scenerec.storage.patience import IMPATIENT, Patience, Wait
from scenerec.storage.protocol import ObjectInfo, Storage
from scenerec.storage.s3_download import Download, status_of
from scenerec.storage.s3_endpoint import ForeignAnswerError, connect, is_of_store
from scenerec.storage.s3_errors import explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

Result = TypeVar("Result")

_FOLDER_MARKERS = ("/", "_$folder$")  # with which the keys end of what consoles and Hadoop make for empty folders
_CONDITIONS: Mapping[str, dict[str, Any]] = {
    "If-None-Match": {"IfNoneMatch": "*"},
    "If-Match": {"IfMatch": f'"{"0" * 32}"'},
}
"""Conditions that no object meets, by their headers."""


class S3Storage(Storage):
    """A prefix of a bucket of any S3-compatible store, by the standard AWS variables and AWS_ENDPOINT_URL.

    An object's version is its ETag. Requests wait, with `patience`, while the store is away.
    """

    def __init__(self, bucket: str, prefix: str = "", patience: Patience = IMPATIENT) -> None:
        self.patience = patience
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._client: S3Client | None = None
        self._client_pid = 0
        self._has_conditions = False  # as far as is known

    @property
    @override
    def url(self) -> str:
        """The address s3://bucket/prefix."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for page in self._pages(Prefix=self.prefix + prefix):
            for entry in page.get("Contents", []):
                if not entry["Key"].endswith(_FOLDER_MARKERS):
                    yield ObjectInfo(entry["Key"].removeprefix(self.prefix), entry["Size"])

    @override
    def folders(self) -> Iterator[str]:
        for page in self._pages(Prefix=self.prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", []):
                if name := entry["Prefix"].removeprefix(self.prefix).rstrip("/"):
                    yield name

    @override
    def get(self, key: str) -> bytes:
        return self._download(key)[0]

    @override
    def get_range(self, key: str, start: int, length: int) -> bytes:
        if not length:
            return b""
        return self._download(key, start, length)[0]

    @override
    def put(self, key: str, content: bytes | Path) -> None:
        """Sends large files in parts, which S3 joins at the end."""

        def upload(client: "S3Client") -> None:
            if isinstance(content, Path):
                client.upload_file(str(content), self.bucket, self.prefix + key)
            else:
                client.put_object(**self._at(key), Body=content)

        self._ask(key, upload)

    @override
    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        try:
            return self._download(key)
        except NotFoundError:
            return None

    @override
    def put_if(self, key: str, content: bytes, version: str | None) -> bool:
        """Writes by S3's conditional requests. Raises StorageError at a store that lacks them, before it writes."""
        from botocore.exceptions import ClientError

        if version == "":
            raise StorageError(
                f"{self.url}/{key}: the store tells no version (ETag) of it: it cannot be changed safely"
            )
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        self._ask(key, self._check_conditions)

        def write(client: "S3Client") -> bool:
            try:
                client.put_object(**self._at(key), Body=content, **condition)
            except ClientError as error:
                if not _is_unmet(error):
                    raise
                # It may be ours: an answer that was lost is asked for again.
                found = self.get_versioned(key)
                return found is not None and found[0] == content
            return True

        return self._ask(key, write)

    @override
    def delete(self, key: str) -> None:
        self._ask(key, lambda client: client.delete_object(**self._at(key)))

    @override
    def size(self, key: str) -> int | None:
        from botocore.exceptions import ClientError

        def look(client: "S3Client") -> int | None:
            try:
                return client.head_object(**self._at(key))["ContentLength"]
            except (ClientError, ForeignAnswerError) as error:
                if isinstance(error, ClientError) and _is_missing(error):
                    return None
                Download(self._at(key), 0, 1).go_on(client)  # what answers HEAD has no body that would say why
                raise

        if not self.prefix + key:  # the bucket itself
            return None
        try:
            return self._ask(key, look)
        except NotFoundError:
            return None

    @property
    def client(self) -> "S3Client":
        """The boto3 client of this process: one made before a fork must not be used after it."""
        if self._client is None or self._client_pid != os.getpid():
            self._client = connect()
            self._client_pid = os.getpid()
        return self._client

    def _pages(self, **request: Any) -> "Iterator[ListObjectsV2OutputTypeDef]":
        """The parts of a listing. Raises StorageError where one comes again, or the next cannot be asked for."""
        seen: set[str] = set()
        while True:
            page = self._ask("", lambda client: _listing(client.list_objects_v2(Bucket=self.bucket, **request)))
            yield page
            if not page.get("IsTruncated"):
                return
            token, first = page.get("NextContinuationToken"), _first(page)
            if not token or first in seen:
                raise StorageError(
                    f"{self.url}: the store says that its listing goes on, but not where: it lacks ListObjectsV2 "
                    "(NextContinuationToken), without which only a part is seen: use another store"
                )
            seen |= {first} if first else set()
            request["ContinuationToken"] = token

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_client": None}

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _download(self, key: str, start: int = 0, length: int | None = None) -> tuple[bytes, str]:
        """The content and its version."""
        download = Download(self._at(key), start, length)
        return self._ask(key, download.go_on, lambda: download.received_bytes)

    def _check_conditions(self, client: "S3Client") -> None:
        """Raises StorageError where the store refuses a condition, or writes all the same: tried on an object apart."""
        from botocore.exceptions import ClientError

        if self._has_conditions:
            return
        probe = self._at(f".conditional-write-{uuid.uuid4().hex}")
        client.put_object(**probe)
        try:
            for header, condition in _CONDITIONS.items():
                try:
                    client.put_object(**probe, **condition)
                except ClientError as error:
                    if _is_unmet(error):
                        continue
                    if status_of(error.response) not in (400, 405, 501):
                        raise
                raise StorageError(
                    f"{self.url}: the store has no conditional writes ({header}), so that one of two "
                    "writers would undo the other's work: keep the registry (--registry, SCENEREC_REGISTRY) and API "
                    "keys in a folder that all machines share, or in a store that has them; all else may stay"
                )
        finally:
            with suppress(ClientError):
                client.delete_object(**probe)
        self._has_conditions = True

    def _ask(
        self, key: str, request: "Callable[[S3Client], Result]", received_bytes: Callable[[], int] = lambda: 0
    ) -> Result:
        """The request's result, after as many tries as patience allows; `received_bytes` is what they have brought."""
        where = f"s3://{self.bucket}/{self.prefix}{key}"
        wait = Wait(self.patience, self.bucket)
        while True:
            try:
                result = request(self.client)
            except Exception as error:  # botocore lets through what it meets: of XML, dates, numbers, encodings
                explained, may_pass = explain(where, error, self._client)
                if not may_pass or not wait.again(str(explained), received_bytes()):
                    raise explained from None
            else:
                wait.over(where)
                return result


def _listing(page: Any) -> Any:
    """The page of a listing, or ForeignAnswerError: any XML passes for an empty one, that of a web page too."""
    if not page.keys() & {"Name", "KeyCount", "IsTruncated", "Contents"}:
        raise ForeignAnswerError("answers with something else than a listing, as no S3 store does")
    return page


def _first(page: "ListObjectsV2OutputTypeDef") -> str | None:
    """The first key or folder of a part of a listing; some are empty."""
    keys = [entry["Key"] for entry in page.get("Contents", [])[:1]]
    folders = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])[:1]]
    return next(iter(keys + folders), None)


def _is_unmet(error: Any) -> bool:
    """Whether a conditional write was refused because of its condition: there is another version, or none."""
    no_object = error.response.get("Error", {}).get("Code") == "NoSuchKey"
    return status_of(error.response) in (409, 412) or no_object


def _is_missing(error: Any) -> bool:
    """Whether an answer without a body surely means that there is no such object."""
    return status_of(error.response) == 404 and is_of_store(error.response["ResponseMetadata"]["HTTPHeaders"])
