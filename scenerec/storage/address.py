"""Addresses of folders: `s3://BUCKET/PREFIX`, or paths of the file system."""

import re
from pathlib import Path

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>/*)(?P<rest>.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MEANT_S3 = re.compile(r"s3[an]?", re.IGNORECASE)  # Hadoop's names among them


def split_s3(url: str) -> tuple[str, str] | None:
    """Bucket and prefix of an s3:// address; None for a path of the file system, `file://` before it or not.

    Raises ValueError for what is neither, such as `s3:/bucket`, which else would name a folder "s3:".
    """
    if _CONTROL.search(url):
        raise ValueError(f"{url!r} has control characters")
    if url.startswith("s3://"):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise ValueError("an s3:// address needs a bucket: s3://BUCKET/PREFIX")
        if not _BUCKET.fullmatch(bucket):
            store = "; AWS_ENDPOINT_URL names the store" if ":" in bucket else ""
            raise ValueError(f"{bucket!r} is no bucket's name: letters, digits, dots, dashes and underscores{store}")
        return bucket, prefix.strip("/")
    if (found := _SCHEME.match(url)) and not url.startswith("file:///"):
        if _MEANT_S3.fullmatch(found["scheme"]):
            raise ValueError(f"is no address: write s3://{found['rest']}")
        if found["slashes"]:
            raise ValueError("only s3:// addresses and local paths are understood")
    return None


def local_path(url: str) -> Path:
    """The absolute path that a path or a file:// address means, `~` expanded. Raises ValueError for no user's `~`."""
    path = Path(url.removeprefix("file://"))
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"nobody is known whose home {path.parts[0]} could be") from None
