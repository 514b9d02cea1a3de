"""The bytes of an object of S3 as they come in: a body that breaks off goes on where it broke."""

import io
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK_BYTES = 1 << 20  # of a chunk that breaks off nothing may be left


class Download:
    """An object, or `length` bytes of it from byte `start`, fetched in as many tries as it takes.

    All bytes are of one version: what is missing is asked for under the ETag of what is there (If-Match), and where the
    object is another one by now, or the store tells no ETag, it is fetched from its beginning.
    """

    def __init__(self, place: Mapping[str, str], start: int = 0, length: int | None = None) -> None:
        self.received_bytes = 0
        """The most that was there at once."""
        self._place, self._start, self._length = place, start, length
        self._version = ""
        self._content = io.BytesIO()

    def go_on(self, client: "S3Client") -> tuple[bytes, str]:
        """One try, from where the one before it ended: the content and its version.

        The content is b"" where the range begins behind the object's end. Raises what boto3 raises.
        """
        response = self._answer(client)
        if response is None:
            return b"", ""
        self._version = version_of(response)
        is_too_much = self._is_range and status_of(response) != 206  # all of it, as some stores and proxies send
        try:
            shutil.copyfileobj(response["Body"], self._content, _CHUNK_BYTES)
        except BaseException:
            self.received_bytes = max(self.received_bytes, self._content.tell())
            if is_too_much or not self._version:
                self._content = io.BytesIO()
            raise
        content = self._content.getvalue()
        return content[self._start :][: self._length] if is_too_much else content, self._version

    @property
    def _is_range(self) -> bool:
        return self._start > 0 or self._length is not None

    def _answer(self, client: "S3Client") -> Any:
        """An answer whose body goes on where the content ends; None where the object ends before the range."""
        from botocore.exceptions import ClientError

        while True:
            done = self._content.tell()
            try:
                response = client.get_object(**self._place, **self._request(done))  # type: ignore[arg-type]
            except ClientError as error:
                status = status_of(error.response)
                if not done and status == 416:
                    return None
                if not done or status not in (412, 416):
                    raise
            else:
                if done and status_of(response) != 206:  # it begins anew
                    self._content = io.BytesIO()
                if not self._content.tell() or version_of(response) == self._version:
                    return response
                response["Body"].close()
            self._content = io.BytesIO()  # it is another object by now

    def _request(self, done: int) -> dict[str, str]:
        """The range that is missing, of the version that is there."""
        if not done and not self._is_range:
            return {}
        last = "" if self._length is None else self._start + self._length - 1
        condition = {"IfMatch": self._version} if done else {}
        return {"Range": f"bytes={self._start + done}-{last}", **condition}


def version_of(response: Mapping[str, Any]) -> str:
    """The ETag of an answer, without the W/ that proxies which compress put before it; "" where it has none."""
    return str(response.get("ETag", "")).removeprefix("W/")


def status_of(response: Mapping[str, Any]) -> int:
    """The HTTP status of an answer of boto3's, 0 where it tells none."""
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
