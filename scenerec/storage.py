"""Folders of objects, local or in S3, behind one small interface: relative keys, atomic puts, one-line errors."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from typing_extensions import override

from scenerec.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Result = TypeVar("Result")

_UNFINISHED = ".unfinished"  # of a local file that is being written


@dataclass(frozen=True)
class ObjectInfo:
    """One object, as a listing tells of it."""

    key: str
    """Key, relative to the storage it was listed from."""
    size_bytes: int


class Storage(Protocol):
    """A folder of objects. All methods raise StorageError; those that need an object raise NotFoundError."""

    @property
    def url(self) -> str:
        """Address of the folder, without a trailing slash."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix`, by key. A missing folder is empty; a missing bucket an error."""

    def get(self, key: str) -> bytes:
        """The content of the whole object."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer at the end of the object."""

    def put(self, key: str, content: bytes | Path) -> None:
        """Writes bytes or a file: readers see the old object or the whole new one."""

    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        """The whole object and its version, None if there is none."""

    def put_if(self, key: str, content: bytes, version: str | None) -> bool:
        """Writes only where the object is still at `version` (None: where there is none); returns whether it did.

        Of several writers one wins, if what they write differs.
        """

    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is no error."""

    def size(self, key: str) -> int | None:
        """Size in bytes, None if there is no such object."""


def open_storage(url: str) -> Storage:
    """The storage at `s3://bucket/prefix` or at a local path. Opens no connection yet."""
    if url.startswith("s3://"):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return S3Storage(bucket, prefix.strip("/"))
    return LocalStorage(Path(url.removeprefix("file://")))


def split_url(url: str) -> tuple[str, str]:
    """An object's address as (folder, key): "s3://b/runs/a.bin" -> ("s3://b/runs", "a.bin")."""
    folder, _, key = url.rstrip("/").rpartition("/")
    return folder or ".", key


class LocalStorage(Storage):
    """A folder of the file system; an object's version is its SHA-256."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    @property
    @override
    def url(self) -> str:
        """The absolute path of the folder."""
        return str(self.root)

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        base = self.root / prefix.rpartition("/")[0]
        with _local_errors(str(base)):
            files = [path for path in base.rglob("*") if path.suffix != _UNFINISHED and path.is_file()]
            keys = {path.relative_to(self.root).as_posix(): path for path in files}
        for key in sorted(keys):  # as S3 does: "a-b" before "a/b"
            with suppress(FileNotFoundError):  # deleted meanwhile
                if key.startswith(prefix):
                    yield ObjectInfo(key, keys[key].stat().st_size)

    @override
    def get(self, key: str) -> bytes:
        with _local_errors(self._path(key)):
            try:
                return (self.root / key).read_bytes()
            except NotADirectoryError:  # the root is a file; `size` says too that there is no such object
                raise FileNotFoundError from None

    @override
    def get_range(self, key: str, start: int, length: int) -> bytes:
        with _local_errors(self._path(key)), (self.root / key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    @override
    def put(self, key: str, content: bytes | Path) -> None:
        """Writes beside the object's place, then renames."""
        target = self.root / key
        with _local_errors(self._path(key)):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=_UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as file:
                    if isinstance(content, Path):
                        with content.open("rb") as source:
                            shutil.copyfileobj(source, file, 1 << 20)
                    else:
                        file.write(content)
                Path(temporary).chmod(0o644)
                Path(temporary).replace(target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    @override
    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        try:
            content = self.get(key)
        except NotFoundError:
            return None
        return content, hashlib.sha256(content).hexdigest()

    @override
    def put_if(self, key: str, content: bytes, version: str | None) -> bool:
        """Writers of this folder, on one machine, take turns."""
        parent = (self.root / key).parent
        with _local_errors(self._path(key)):
            parent.mkdir(parents=True, exist_ok=True)
            turn = os.open(parent, os.O_RDONLY)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            found = self.get_versioned(key)
            if (found and found[1]) != version:
                return False
            self.put(key, content)
            return True
        finally:
            os.close(turn)

    @override
    def delete(self, key: str) -> None:
        """Removes the object, and folders that become empty."""
        with _local_errors(self._path(key)):
            (self.root / key).unlink(missing_ok=True)
            with suppress(OSError):
                for parent in (self.root / key).parents:
                    if parent == self.root:
                        break
                    parent.rmdir()

    @override
    def size(self, key: str) -> int | None:
        with _local_errors(self._path(key)):
            path = self.root / key
            return path.stat().st_size if path.is_file() else None

    def _path(self, key: str) -> str:
        return str(self.root / key)


class _local_errors:  # noqa: N801 - reads as a context manager
    """Turns OSError into StorageError that names the path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise NotFoundError(f"{self.path}: no such file") from None
        if isinstance(error, OSError):
            raise StorageError(f"{self.path}: {error.strerror or error}") from None


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
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in (404, 409, 412):
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
        body = response["Body"].read()
        if len(body) != response["ContentLength"]:
            raise ConnectionError(f"{len(body)} of {response['ContentLength']} bytes arrived")
        return body, response["ETag"]

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
