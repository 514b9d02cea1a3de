"""What went wrong with an object store, in the user's words: the address, the cause and the remedy in one line."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scenerec.errors import NotFoundError, StorageError, first_line, printable
from scenerec.storage.s3_endpoint import (
    CHECKSUM_VARIABLE,
    READ_TIMEOUT_S,
    ForeignAnswerError,
    endpoint_setting,
    is_web_page,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_EXPIRED = "the credentials have expired: get new ones, AWS_SESSION_TOKEN among them (of a profile: `aws sso login`)"
_REGION = "the bucket is in another region: set AWS_REGION, and AWS_ENDPOINT_URL if it is set, to the bucket's"
_FULL = "the store is full, or your quota is: make room there"
_CAUSES: Mapping[str, str] = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": "AWS_SESSION_TOKEN is not of these credentials: unset it, or set the one that came with them",
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "QuotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "XMinioStorageFull": _FULL,
    "InvalidObjectState": "the object is archived: restore it first (`aws s3api restore-object`)",
}
"""By the code of a refusal."""

_CLOCK_CODES = ("RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture")
_TRANSIENT_CODES = ("SlowDown", "RequestTimeout", "Throttling", "TooManyRequests")


def explain(where: str, error: BaseException, client: "S3Client | None") -> tuple[StorageError, bool]:
    """What botocore, or a library below it, raised at the address `where`; and whether another try may help.

    `client` is the one that was asked, None where none could be made.
    """
    from boto3.exceptions import Boto3Error
    from botocore import exceptions as boto

    setting, endpoint = endpoint_setting(client)
    place = f"{where}: {endpoint}"
    if isinstance(error, Boto3Error) and error.__context__:  # of an upload: below it is the answer
        error = error.__context__
    match error:
        case StorageError():
            return error, False
        case boto.ClientError():
            return _explain_answer(where, setting, endpoint, error.response)
        case ForeignAnswerError():
            remedy = f"{setting} must be the address of the store itself, and AWS_REGION the bucket's region"
            return StorageError(f"{place} {error}: {remedy}"), False
        case boto.NoCredentialsError() | boto.PartialCredentialsError():
            remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `scenerec cluster up` for an embedded store"
            return StorageError(f"{where}: no credentials: {remedy}"), False
        case boto.SSLError():
            return StorageError(f"{place}: no safe connection ({_tls_reason(error)})"), False
        case boto.ProxyConnectionError():
            return StorageError(
                f"{place}: the proxy does not answer: are HTTP_PROXY, HTTPS_PROXY and NO_PROXY right?"
            ), True
        case boto.EndpointConnectionError() | boto.ConnectTimeoutError() | boto.ConnectionClosedError():
            remedy = f"is the store up, and {setting} right?"
            return StorageError(f"{where}: cannot reach {endpoint}: {remedy}"), True
        case boto.ReadTimeoutError():
            remedy = f"is the store overloaded, or {setting} another program's address?"
            return StorageError(f"{place}: no answer in {READ_TIMEOUT_S} s: {remedy}"), True
        case boto.ParamValidationError() | boto.InvalidRegionError():
            return StorageError(f"{where}: {str(error).splitlines()[-1].strip()}"), False
        case OSError() if error.filename:  # the file that was to be sent
            return StorageError(f"{where}: {error.filename}: {error.strerror}"), False
    if isinstance(error, boto.HTTPClientError | boto.IncompleteReadError | boto.FlexibleChecksumError | OSError):
        # It broke on the way.
        return StorageError(f"{place}: {first_line(error)}"), True
    if isinstance(error, boto.BotoCoreError):  # of settings
        return StorageError(f"{place}: {first_line(error)}"), False
    if isinstance(error, UnicodeEncodeError):
        return StorageError(f"{where!a}: is not UTF-8, as names in S3 must be"), False
    reason = f"{type(error).__name__}: {first_line(error)}"
    return StorageError(f"{place} answers what cannot be read ({reason}): is {setting} an S3 store's?"), True


def _explain_answer(where: str, setting: str, endpoint: str, response: Mapping[str, Any]) -> tuple[StorageError, bool]:
    place = f"{where}: {endpoint}"
    code, told = (printable(str(response.get("Error", {}).get(name, ""))) for name in ("Code", "Message"))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    headers: Mapping[str, str] = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    may_pass = code in _TRANSIENT_CODES or status == 429 or (status >= 500 and status not in (501, 507))
    if is_web_page(headers):  # botocore makes 500 of 200 where what should be XML is none
        page = "a web page" if status == 500 else f"a web page ({status})"
        remedy = f"is it the address of the store itself ({setting}), and is the store up?"
        return StorageError(f"{place} answers with {page}, as no S3 store does: {remedy}"), may_pass
    if code == "NoSuchBucket":
        bucket = f"`{urlsplit(where).netloc}` at {endpoint}"
        return NotFoundError(f"{where}: there is no bucket {bucket}{_path_hint(setting, endpoint)}"), False
    if code in ("NoSuchKey", "NotFound"):
        return NotFoundError(f"{where}: no such object{_path_hint(setting, endpoint)}"), False
    if code in _CAUSES:
        return StorageError(f"{place}: {_CAUSES[code]} ({code})"), False
    if code in _CLOCK_CODES:
        clocks = f"here {datetime.now(UTC):%a, %d %b %Y %H:%M:%S} GMT, there {headers.get('date', 'another time')}"
        return StorageError(f"{place}: this machine's clock is not the store's ({clocks}): set it ({code})"), False
    if status in (401, 403):
        remedy = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy"
        return StorageError(f"{place} refuses these credentials ({code}): {remedy}"), False
    if "checksum" in told.lower() or "trailer" in told.lower():
        remedy = f"set {CHECKSUM_VARIABLE}=when_required"
        return StorageError(f"{place} does not know the checksums that are sent: {remedy} ({code})"), False
    if code == str(status) and (status in (404, 405) or status >= 500):  # a store would tell a code of S3's
        remedy = f"is {setting} its address, with its port, and is it up?"
        return StorageError(f"{place} answers {status} without S3's words: {remedy}"), may_pass
    return StorageError(f"{place}: {code} {told}".rstrip()), may_pass


def _path_hint(setting: str, endpoint: str) -> str:
    """Where a bucket may have slipped into the address of the store."""
    path = urlsplit(endpoint).path.strip("/") if "://" in endpoint else ""
    return f" ({setting} ends in /{path}: a bucket is named in s3://BUCKET alone)" if path else ""


def _tls_reason(error: Exception) -> str:
    text = str(error)
    if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
        return "the port speaks no TLS: http:// instead of https:// ?"
    if "No such file" in text:
        return "AWS_CA_BUNDLE names a file that is not there"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted: AWS_CA_BUNDLE names a file with the authority's"
    return first_line(error)
