"""The content of an image that was named on the command line: a file, an object, or what is at an address."""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from scenerec.commands import options
from scenerec.errors import ConfigError, DataError, first_line, system_reason
from scenerec.names import quoted
from scenerec.storage import IMPATIENT

_LARGEST_FILE_BYTES = 256 << 20  # uncompressed 50 million pixels, and more
_LARGEST_DOWNLOAD_BYTES = 64 << 20
_TIMEOUT_S = 30  # of the connection, and of each read
_PATIENCE_S = 300  # of the whole
_CHUNK_BYTES = 1 << 16
_CODINGS = ("", "identity", "gzip", "x-gzip", "deflate")  # of what is sent; others' decoders raise errors of their own


def named_images(images: Iterable[str]) -> Iterator[str]:
    """Yields what was named; in place of a folder the images in it, in order of name, without what programs leave.

    A folder that may not be read, or has none, is yielded itself, so that who reads it is told why. Raises ConfigError
    for a packed set in a store, DataError for a prefix without images, StorageError.
    """
    for image in images:
        if image.startswith("s3://"):
            yield from _stored_images(image)
            continue
        image = options.location("IMAGE", image) if image.startswith("~") else image
        if is_url(image) or not os.path.isdir(image):  # noqa: PTH112 - Path's raises where it may not look
            yield image
        else:
            yield from _images_below(image)


def _stored_images(url: str) -> Iterator[str]:
    from cluster.environment import use_store_environment
    from scenerec.inference.bulk.listing import ListedShard, list_images  # numpy and Pillow

    use_store_environment()
    for listed in list_images([options.location("IMAGE", url)], IMPATIENT):
        if isinstance(listed, ListedShard):
            raise ConfigError(f"IMAGE {url}: is a packed set: say where its answers go: --output answers.csv")
        yield listed.image


def _images_below(folder: str) -> list[str]:
    from scenerec.data.packing.tree import is_left_behind  # these import numpy and Pillow
    from scenerec.data.picture import SUFFIXES

    found: list[Path] = []
    for below, folders, names in os.walk(folder, onerror=lambda error: found.append(Path(str(error.filename)))):
        folders[:] = [name for name in folders if not is_left_behind(name)]
        images = (name for name in names if Path(name).suffix.lower() in SUFFIXES and not is_left_behind(name))
        found.extend(Path(below) / name for name in images)
    return [str(path) for path in sorted(found)] or [folder]


def is_url(image: str) -> bool:
    """Whether it is an address on the web."""
    return image.lower().startswith(("http://", "https://"))


def read_image(image: str) -> bytes:
    """Reads a file or an object, or fetches an address.

    Raises DataError that says why it cannot be had, without its name; StorageError for a store that does not answer.
    """
    if is_url(image):
        return _fetch(image)
    if image.startswith("s3://"):
        from scenerec.inference.bulk.photographs import read_stored

        return read_stored(image, IMPATIENT)
    path = Path(image)
    try:
        if path.is_fifo() and not image.startswith("/dev/"):  # a shell's <(...) is there
            raise DataError("cannot be read: is a pipe, no file")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
    except IsADirectoryError:
        raise DataError("has no image in it") from None
    except (OSError, ValueError) as error:  # the latter for a name with a NUL byte
        raise DataError(f"cannot be read: {system_reason(error)}") from None
    if len(content) > _LARGEST_FILE_BYTES:
        raise DataError(f"is larger than {_LARGEST_FILE_BYTES >> 20} MB")
    return content


def _fetch(url: str) -> bytes:
    import requests  # few images have an address

    deadline_s = time.monotonic() + _PATIENCE_S
    content = bytearray()
    try:
        # Pictures are compressed already; what is sent compressed all the same is opened, or refused.
        with requests.get(url, timeout=_TIMEOUT_S, stream=True, headers={"Accept-Encoding": "identity"}) as response:
            response.raise_for_status()
            kind, coding = (response.headers.get(name, "").lower() for name in ("Content-Type", "Content-Encoding"))
            if coding not in _CODINGS:
                raise DataError(f"is sent in the coding {quoted(coding)}, which was not asked for: give it as a file")
            for chunk in response.iter_content(_CHUNK_BYTES):
                content += chunk
                if len(content) > _LARGEST_DOWNLOAD_BYTES:
                    raise DataError(f"is larger than {_LARGEST_DOWNLOAD_BYTES >> 20} MB")
                if time.monotonic() > deadline_s:
                    raise DataError(f"cannot be read: did not arrive in {_PATIENCE_S} s")
    except DataError:
        raise
    except Exception as error:  # requests lets through what is below it: of urllib3, of decoders
        raise DataError(f"cannot be read: {_reason(error)}") from None
    if kind.startswith("text/html") and content.lstrip().startswith(b"<"):
        raise DataError("is a web page, no image: give the address of the picture itself")
    return bytes(content)


def _reason(error: Exception) -> str:
    import requests

    match error:
        case requests.HTTPError() if error.response is not None:
            return quoted(f"{error.response.status_code} {error.response.reason}")
        case requests.exceptions.ContentDecodingError():
            return "its compression is damaged"
        case requests.exceptions.ChunkedEncodingError():
            return "the answer broke off"
        case requests.Timeout():
            return f"no answer in {_TIMEOUT_S} s"
        case ValueError():
            return f"is, or leads to, what is no address ({first_line(error)})"
    return system_reason(error)
