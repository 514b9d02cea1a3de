"""The variables by which a process finds a store or a cluster."""

from collections.abc import Mapping

import pytest

_USERS_OWN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "RAY_ADDRESS")


def lead_to(environment: Mapping[str, str], patch: pytest.MonkeyPatch) -> None:
    """Sets the variables of a store or a cluster, and takes out what leads to the user's own."""
    for name in _USERS_OWN:
        patch.delenv(name, raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
