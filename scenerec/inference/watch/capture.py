"""What OpenCV decodes, by its FFmpeg or from a camera: the part that videos, cameras and streams share."""

import os
from collections.abc import Iterator, Sequence
from time import perf_counter

import cv2

from scenerec.inference.watch.frames import Frame


def open_capture(source: str | int, backend: int, parameters: Sequence[int] = ()) -> cv2.VideoCapture | None:
    """Opens what gives frames; None where that fails.

    Args:
        source: a file, an address, a device file, or the number of a camera.
        backend: by OpenCV's constants.
        parameters: constants and their values in turn.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # else FFmpeg complains on standard error, in riddles
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(source, backend, list(parameters))
    return capture if capture.isOpened() else None


def live_frames(capture: cv2.VideoCapture, first: int, began_at: float) -> Iterator[Frame]:
    """Yields the frames that come from now on, until there are no more; then lets the capture go.

    Args:
        capture: is open.
        first: number of the first frame.
        began_at: when the sequence began, in seconds of `time.perf_counter`.
    """
    number = first
    try:
        while capture.grab():
            if (frame := retrieve(capture, number, perf_counter() - began_at)) is not None:
                yield frame
            number += 1
    finally:
        capture.release()


def retrieve(capture: cv2.VideoCapture, number: int, time_s: float) -> Frame | None:
    """Returns the frame that was grabbed last, as `Frame` describes it; None where it has no pixels."""
    captured_at = perf_counter()
    done, pixels = capture.retrieve()
    if not done or pixels is None:
        return None
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    return Frame(number, time_s, captured_at, pixels, "BGR")
