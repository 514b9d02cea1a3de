"""Frames: what is watched, one picture after another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np

from scenerec.data.picture import Picture
from scenerec.errors import DataError


@dataclass(frozen=True)
class Frame:
    """A picture of a sequence."""

    number: int
    """Its place among all that came, from 0; what was skipped is counted."""
    time_s: float
    """When it belongs: seconds since the sequence began, by a video's own clock, of what is live by ours."""
    captured_at: float
    """When it was there, in seconds of `time.perf_counter`; from then on it grows older."""
    pixels: np.ndarray
    """Pixels, uint8 [height, width, 3]."""
    channels: Literal["RGB", "BGR"] = "RGB"
    """Order of the colours in the last axis."""


def picture_frames(
    files: Sequence[str],
    read: Callable[[str], bytes],
    frames_per_s: float,
    leave_out: Callable[[str, DataError], None],
) -> Iterator[Frame]:
    """Yields pictures as frames, upright and whole, as quickly as they are asked for.

    Args:
        files: the pictures in their order.
        read: gives the content of one; may raise DataError.
        frames_per_s: how many make a second.
        leave_out: is told of one that cannot be read or decoded, and why.
    """
    for number, file in enumerate(files):
        try:
            pixels = Picture(read(file)).upright()
        except DataError as error:
            leave_out(file, error)
            continue
        yield Frame(number, number / frames_per_s, perf_counter(), pixels)
