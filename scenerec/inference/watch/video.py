"""Frames of a video file: as fast as they can be answered, or each when its time has come."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from scenerec.errors import DataError
from scenerec.inference.watch.capture import open_capture, retrieve
from scenerec.inference.watch.frames import Frame

_USUAL_FRAME_S = 1 / 25  # where a file does not say
_COMPLETE = 0.9  # of a file's frames: what it says of their number may be a guess


def video_frames(
    name: str, file: Path, threads: int, in_real_time: bool, say: Callable[[str], None]
) -> Iterator[Frame]:
    """Opens a video file and yields its frames.

    Args:
        name: what errors begin with.
        file: of any format that FFmpeg knows.
        threads: that decode.
        in_real_time: a frame comes when its time has come, as from a camera; else as soon as it is asked for.
        say: is told where the video ends before its time.

    Raises:
        DataError: it is no video.
    """
    if file.is_dir():
        raise DataError(f"{name}: is a folder: use --frames for pictures")
    if not file.exists():
        raise DataError(f"{name}: there is no such file")
    capture = open_capture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    if capture is None:
        raise DataError(f"{name}: is no video that can be decoded")
    return _frames(name, capture, in_real_time, say)


class Pace:
    """Lets a video's frames pass as a camera's do: a frame is decoded when it is due, not before.

    A video that takes longer to decode than to play becomes slower: its frames are late, not old.

    Args:
        frame_s: seconds from one frame to the next, as a rule.
    """

    def __init__(self, frame_s: float) -> None:
        self._frame_s = frame_s
        self._next_at = self._began_at = time.perf_counter()

    def await_decoding(self) -> None:
        """Waits until the next frame may be decoded, whose time is not known before."""
        time.sleep(max(self._next_at - time.perf_counter(), 0))

    def await_time(self, time_s: float) -> None:
        """Waits until the frame that was decoded is due, which is `time_s` after the first."""
        late_s = time.perf_counter() - self._began_at - time_s
        self._began_at += max(late_s - self._frame_s, 0)
        time.sleep(max(-late_s, 0))
        self._next_at = self._began_at + time_s + self._frame_s


def _frames(name: str, capture: cv2.VideoCapture, in_real_time: bool, say: Callable[[str], None]) -> Iterator[Frame]:
    expected, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    frame_s = 1 / rate if 0 < rate < 1000 else _USUAL_FRAME_S
    pace = Pace(frame_s) if in_real_time else None
    number, time_s = 0, 0.0
    try:
        while _grab(capture, pace):
            stamp_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            if number:
                time_s = stamp_s if stamp_s > time_s else time_s + frame_s  # a damaged one has no stamp, or an old one
            if pace:
                pace.await_time(time_s)
            if (frame := retrieve(capture, number, time_s)) is not None:
                yield frame
            number += 1
    finally:
        capture.release()
    if not number:
        raise DataError(f"{name}: no frame of it can be decoded")
    if number < _COMPLETE * expected:
        say(f"{name}: ends after {number} of {expected:.0f} frames: is the file whole?")


def _grab(capture: cv2.VideoCapture, pace: Pace | None) -> bool:
    if pace:
        pace.await_decoding()
    return bool(capture.grab())
