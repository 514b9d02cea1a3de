"""The client of the inference endpoint: typed, sync and async. Light: it imports neither numpy nor a framework.

from scenerec.client import Client

with Client("http://localhost:8000") as client:
    print(client.predict("photos", Path("holiday.jpg")).classes[0].label)
"""

from scenerec.client.async_client import AsyncClient
from scenerec.client.client import Client
from scenerec.client.coordinates import Coordinates
from scenerec.client.errors import (
    BadImageError,
    EndpointError,
    OverloadedError,
    RateLimitedError,
    TimedOutError,
    UnauthorizedError,
    UnknownModelError,
    UnreachableError,
)
from scenerec.client.prediction import Guess, HeatMap, Prediction
from scenerec.client.served import ServedModel, ServedVersion

__all__ = [
    "AsyncClient",
    "BadImageError",
    "Client",
    "Coordinates",
    "EndpointError",
    "Guess",
    "HeatMap",
    "OverloadedError",
    "Prediction",
    "RateLimitedError",
    "ServedModel",
    "ServedVersion",
    "TimedOutError",
    "UnauthorizedError",
    "UnknownModelError",
    "UnreachableError",
]
