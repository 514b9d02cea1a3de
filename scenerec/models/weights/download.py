"""Downloads a file over HTTP, through the proxies of the standard variables (http_proxy, https_proxy, no_proxy)."""

import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scenerec import __version__
from scenerec.errors import ModelError, StorageError, first_line, system_reason
from scenerec.names import quoted

ATTEMPTS = 4
"""Number of tries in all; the pause before a further one doubles from half a second."""

_TIMEOUT_S = 20.0  # of the connection, and of each read
_CHUNK_BYTES = 1 << 20


class DownloadError(ModelError):
    """A file that cannot be had; its message is the reason alone."""


class _TransientError(Exception):
    """What another try may mend."""


def download(url: str, target: Path) -> None:
    """Writes what is at `url` (http or https) to `target`, and tells of it on stderr, with a bar on a terminal.

    Raises:
        DownloadError: the server cannot be reached, refuses, or breaks off again and again.
        StorageError: `target` cannot be written.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _transfer(url, target)
        except _TransientError as error:
            if attempt == ATTEMPTS:
                raise DownloadError(f"{error}, {ATTEMPTS} times") from None
        time.sleep(0.25 * 2**attempt)
    raise AssertionError("unreachable")


def _transfer(url: str, target: Path) -> None:
    with _open(url) as response:
        _check_kind(response)
        total_bytes = response.length
        with temporary_file(target) as write, _bar(url, total_bytes) as advance:
            received_bytes = 0
            while chunk := _read(response):
                write(chunk)
                received_bytes += len(chunk)
                advance(len(chunk))
    if total_bytes is not None and received_bytes != total_bytes:
        raise _TransientError(f"the connection broke off after {received_bytes} of {total_bytes} bytes")
    if not received_bytes:
        raise DownloadError("the answer is empty")


def _open(url: str) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(_ascii(url), headers={"User-Agent": f"scenerec/{__version__}"})
        return urllib.request.build_opener().open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            reason = _refusal(error)
        raise (_TransientError(reason) if error.code >= 500 or error.code == 429 else DownloadError(reason)) from None
    except urllib.error.URLError as error:
        raise DownloadError(_reason(error.reason)) from None
    except (ValueError, http.client.InvalidURL) as error:
        raise DownloadError(f"is, or redirects to, what is no address: {first_line(error)}") from None
    except (OSError, http.client.HTTPException) as error:  # while the answer was awaited
        raise _TransientError(_reason(error)) from None


def _ascii(url: str) -> str:
    """The address with what HTTP cannot carry, such as umlauts and spaces, in percent signs. Raises ValueError."""
    parts = urllib.parse.urlsplit(url)
    path, query = (urllib.parse.quote(part, safe="%/:=&?~#+!$,;'@()*[]") for part in (parts.path, parts.query))
    host = parts.netloc.encode("idna").decode() if parts.hostname else ""
    return parts._replace(netloc=host, path=path, query=query).geturl()


def _refusal(error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:  # urllib follows such, but in a circle, or to another scheme
        place = quoted(error.headers.get("Location", "nowhere"))
        return f"{error.code}, redirects in a circle or to no web address: {place}"
    return quoted(f"{error.code} {error.reason}".strip())


def _check_kind(response: http.client.HTTPResponse) -> None:
    """Raises DownloadError for what is no file of weights: a login page, or bytes that came compressed."""
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise DownloadError("a web page came instead of a file: the address may be a page's, or want a login")
    if (coding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise DownloadError(f"the server sends it compressed by {quoted(coding)}, which was not asked for")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except http.client.IncompleteRead:  # of parts that announce their lengths
        raise _TransientError("the connection broke off") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _TransientError(_reason(error)) from None


@contextmanager
def temporary_file(target: Path) -> Iterator[Callable[[bytes], int]]:
    """Yields what writes to a file in a temporary folder. Raises StorageError where it cannot be written."""
    try:
        with target.open("wb") as file:
            yield file.write
    except OSError as error:
        raise StorageError(f"{target}: {error.strerror or error} (TMPDIR names another place for it)") from None


@contextmanager
def _bar(url: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """What is called with the bytes of each chunk."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        size = f" ({total_bytes / 1e6:.1f} MB)" if total_bytes else ""
        print(f"downloading {url}{size}", file=sys.stderr)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(url.rpartition("/")[2], total=total_bytes)
        yield lambda count: progress.advance(task, count)


def _reason(error: BaseException | str) -> str:
    return quoted(error) if isinstance(error, str) else system_reason(error)
