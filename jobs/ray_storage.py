"""Where Ray Train keeps its own notes of a run: in the run's folder, which all nodes reach. Arrow writes them."""

import math
import os
from typing import Any
from urllib.parse import urlsplit

from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
from typing_extensions import override

from scenerec.json_object import JsonObject
from scenerec.storage.s3_endpoint import CHECKSUM_VARIABLE, endpoint_variable


class S3Files(S3FileSystem):
    """Arrow's connection to the store of the AWS variables, by the habits of `scenerec.storage`, in every process."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        options: dict[str, Any] = {"retry_strategy": AwsStandardS3RetryStrategy(_attempts(patience_s))}
        _, endpoint = endpoint_variable()
        if endpoint:
            parts = urlsplit(endpoint)
            options |= {"endpoint_override": parts.netloc + parts.path.rstrip("/"), "scheme": parts.scheme}
            os.environ.setdefault(CHECKSUM_VARIABLE, "when_required")  # Arrow has no option for it
        if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
            options["region"] = region
        super().__init__(**options)

    @override
    def __reduce__(self) -> tuple[type["S3Files"], tuple[float]]:
        """Where it arrives it is made anew: the variable that Arrow reads must be set there, too."""
        return S3Files, (self.patience_s,)


def _attempts(patience_s: float) -> int:
    """Tries of a request that the AWS SDK makes in so many seconds, or somewhat more: its pauses are random, from 0 to
    20 s after the first few."""
    return 3 + math.ceil(patience_s / 10)


def ray_storage(url: str, patience_s: float = 0.0) -> JsonObject:
    """The arguments of Ray's RunConfig for notes in this folder, local or s3://, whose store may be away so long."""
    if not url.startswith("s3://"):
        return {"storage_path": url}
    return {"storage_path": url.removeprefix("s3://"), "storage_filesystem": S3Files(patience_s)}
