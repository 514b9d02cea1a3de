"""How a run is followed: what is kept of it beside its results, and where else it is shown."""

import os
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from scenerec.config.block import Block

_ADDRESS = re.compile(r"(https?|file)://[^\s/]*\S*|databricks")


def _mlflow_address(text: str) -> str:
    address = os.path.expandvars(text).rstrip("/")
    if unset := re.search(r"\$(\w+|\{[^}]*\})", address):
        raise ValueError(f"the environment variable {unset.group(0)} is not set")
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"must be an address such as http://10.0.0.7:5000, not {text!r}")
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise ValueError(
            "has a user or password in it, which all who read config.yaml would see: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD on the nodes instead"
        )
    return address


class TrackConfig(Block):
    """How the run is followed. Nothing of it changes a result."""

    every_steps: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Steps from one line of steps.jsonl to the next; an epoch's last step has one as well. `auto`: 20 lines an epoch,
    more where they would be over 50 steps apart. At each a GPU waits for its queue, and all are written again with each
    checkpoint."""
    mlflow: Annotated[str, AfterValidator(_mlflow_address)] | None = None
    """Address of an MLflow server to which settings, metrics and report go as well, such as http://10.0.0.7:5000. User
    and password are the nodes' MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. A server that is away stops
    nothing."""
    experiment: str = Field("scenerec", min_length=1)
    """Name of MLflow's experiment; it is made if it is not there."""
