"""The newest of the frames that come: who is slower than a camera skips some, and never lags behind."""

import threading
from collections.abc import Iterator

from scenerec.inference.watch.frames import Frame

_END_S = 1.0  # for a capture to end; one that still waits for its camera is left to itself


def newest(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yields the newest frame whenever one is asked for, each once; waits for one where there is none yet.

    A thread takes every frame as it comes and keeps the last, so that none is older than the time from one frame to
    the next. The last frame of all comes in any case. Raises what `frames` raises, when the frames before it are taken.
    """
    slot = _Slot()
    thread = threading.Thread(target=_capture, args=(frames, slot), name="capture", daemon=True)
    thread.start()
    try:
        while (frame := slot.take()) is not None:
            yield frame
    finally:
        slot.close()
        thread.join(_END_S)


class _Slot:
    """Room for one frame, and for what has ended them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._ended = False
        self._error: BaseException | None = None
        self.closed = False

    def put(self, frame: Frame) -> None:
        with self._changed:
            self._frame = frame
            self._changed.notify()

    def end(self, error: BaseException | None) -> None:
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify()

    def take(self) -> Frame | None:
        """The newest frame as soon as there is one; None after the last."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait()
            frame, self._frame = self._frame, None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def close(self) -> None:
        self.closed = True


def _capture(frames: Iterator[Frame], slot: _Slot) -> None:
    try:
        for frame in frames:
            if slot.closed:
                break
            slot.put(frame)
    except BaseException as error:  # it belongs to who takes the frames
        slot.end(error)
    else:
        slot.end(None)
    finally:
        if close := getattr(frames, "close", None):  # a generator lets its camera go
            close()
