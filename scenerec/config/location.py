"""Places that a config names: `s3://` addresses and local paths."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field


def expand_location(location: str) -> str:
    """Expands `$VARIABLE`, `${VARIABLE}` and `~`; a local path becomes absolute, `s3://` loses its trailing slash.

    Raises ValueError for a variable or a home that is not there, and for a scheme other than s3 and file.
    """
    expanded = os.path.expandvars(location)
    if unset := re.search(r"\$(\w+|\{[^}]*\})", expanded):
        raise ValueError(f"the environment variable {unset.group(0)} is not set")
    if re.search(r"[\x00-\x1f\x7f]", expanded):
        raise ValueError(f"{expanded!r} has control characters")
    if expanded.startswith("s3://"):
        if not expanded.removeprefix("s3://").strip("/"):
            raise ValueError("an s3:// address needs a bucket: s3://BUCKET/PREFIX")
        return expanded.rstrip("/")
    if "://" in expanded and not expanded.startswith("file://"):
        raise ValueError("only s3:// addresses and local paths are understood")
    try:
        return str(Path(expanded.removeprefix("file://")).expanduser().absolute())
    except RuntimeError:
        raise ValueError(f"{expanded}: there is no such user's home") from None


Location = Annotated[str, Field(min_length=1), AfterValidator(expand_location)]
