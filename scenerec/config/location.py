"""Places that a config names: `s3://` addresses and local paths."""

import os
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from scenerec.storage.address import local_path, split_s3


def expand_location(location: str) -> str:
    """Expands `$VARIABLE`, `${VARIABLE}` and `~`; a local path becomes absolute, `s3://` loses its trailing slash.

    Raises ValueError for a variable that is not set and for what is no address, such as `s3:/bucket`.
    """
    expanded = os.path.expandvars(location)
    if unset := re.search(r"\$(\w+|\{[^}]*\})", expanded):
        raise ValueError(f"the environment variable {unset.group(0)} is not set")
    return expanded.rstrip("/") if split_s3(expanded) else str(local_path(expanded))


Location = Annotated[str, Field(min_length=1), AfterValidator(expand_location)]
