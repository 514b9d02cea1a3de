"""The connection to an object store: the endpoint that the environment names, and the client that speaks to it."""

import os
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scenerec.errors import StorageError
from scenerec.names import quoted

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client

_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set holds
_ENDPOINT = re.compile(rb"<Endpoint>([^<]+)</Endpoint>")  # of a bucket in another region
_PLAIN_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION")

READ_TIMEOUT_S = 60
"""How long a store may be silent."""
CHECKSUM_VARIABLE = "AWS_REQUEST_CHECKSUM_CALCULATION"
"""Name of the variable by which the AWS libraries send checksums in headers, or leave them out (when_required)."""


class ForeignAnswerError(Exception):
    """An answer that no object store gives; the message says what it does."""


def endpoint_variable() -> tuple[str, str]:
    """Name and value of the variable that names the store; where none is set AWS_ENDPOINT_URL and ""."""
    return next(((name, value) for name in _VARIABLES if (value := os.environ.get(name))), (_VARIABLES[-1], ""))


def endpoint_setting(client: "S3Client | None") -> tuple[str, str]:
    """What names the store that a client asks, a variable or a file, and its address: of Amazon S3 the name."""
    variable, url = endpoint_variable()
    if url or client is None or _is_amazon(client):
        return variable, url or "Amazon S3"
    return "endpoint_url in ~/.aws/config", client.meta.endpoint_url


def connect() -> "S3Client":
    """A boto3 client by the standard AWS variables and files.

    Raises StorageError for an endpoint that is no address, and what botocore raises for other settings.
    """
    from botocore.config import Config

    variable, url = endpoint_variable()
    for name in (variable, *_PLAIN_VARIABLES):
        value = os.environ.get(name, "")
        if value != value.strip() or not (value.isascii() and value.isprintable()):  # it may be a secret
            raise StorageError(
                f"{name}: has spaces or line breaks around it, or letters that it cannot have: set it anew"
            )
    if url:
        _check_endpoint(variable, url)
    session = _session()
    region = session.region_name or "us-east-1"
    # Retries are ours: botocore's do not cover a body that breaks off.
    config = Config(
        connect_timeout=5, read_timeout=READ_TIMEOUT_S, max_pool_connections=32, retries={"total_max_attempts": 1}
    )
    elsewhere = config.merge(_of_other_stores())
    client = session.client("s3", config=elsewhere if url else config, region_name=region)
    if not url and not _is_amazon(client):  # as ~/.aws/config says
        client = session.client("s3", config=elsewhere, region_name=region)
    client.meta.events.register_first("before-parse.s3", _refuse_foreign)
    return client


def _session() -> "Session":
    """The session of this thread, process and environment: what a session has read of S3, all its clients share.

    Sessions are not thread-safe, and remember what they have found in the environment.
    """
    import boto3

    settings = {name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("AWS_")}
    if _made.__dict__.get("of") != (found := (os.getpid(), settings)):
        _made.of, _made.session = found, boto3.session.Session()
    return _made.session


_made = threading.local()


def _is_amazon(client: "S3Client") -> bool:
    return str(urlsplit(client.meta.endpoint_url).hostname).endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _of_other_stores() -> "Config":
    """Buckets in the path; no checksums in headers, which are newer than many stores, unless the user asks for them."""
    from botocore.config import Config

    asked = os.environ.get(CHECKSUM_VARIABLE, "").lower() == "when_supported"
    required = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    return Config(s3={"addressing_style": "path"}, **({} if asked else required))  # type: ignore[arg-type]


def _check_endpoint(variable: str, url: str) -> None:
    """Raises StorageError for what would fail later, or reach another place than meant."""
    if "@" in url:
        raise StorageError(f"{variable}: holds a name or a password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    wrong = f"{variable}={url!r}: "
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise StorageError(f"{wrong}is no address ({error}): write it as http://localhost:8333") from None
    if parts.scheme not in ("http", "https") or "://" not in url:
        raise StorageError(f"{wrong}has no http:// or https:// before it: write http://{url.rpartition('//')[2]}")
    if not host or port == 0 or parts.query or parts.fragment or any(map(str.isspace, url)):
        raise StorageError(f"{wrong}is no address of a store: write it as http://localhost:8333")


def _refuse_foreign(response_dict: dict[str, Any], **_: object) -> None:
    """Raises ForeignAnswerError for what botocore would take for an answer, or follow for ever.

    A login page with status 200 would pass for an object, or for a put that was done.
    """
    status = response_dict["status_code"]
    headers = {name.lower(): value for name, value in response_dict["headers"].items()}
    if 300 <= status < 400 and "x-amz-bucket-region" not in headers:
        told = _ENDPOINT.search(response_dict["body"])
        to = headers.get("location") or (told[1].decode(errors="replace") if told else "another place")
        raise ForeignAnswerError(f"redirects to {quoted(to)}")
    if status < 300 and is_web_page(headers):
        raise ForeignAnswerError("answers with a web page, as no S3 store does")


def is_web_page(headers: Mapping[str, str]) -> bool:
    """Whether these headers, by lower-case name, are of a page for people, and not of a store's answer or object."""
    return headers.get("content-type", "").startswith("text/html") and not is_of_store(headers)


def is_of_store(headers: Mapping[str, str]) -> bool:
    """Whether these headers, by lower-case name, are surely of an S3 store; not every store sends such."""
    return any(name.startswith("x-amz-") for name in headers)
