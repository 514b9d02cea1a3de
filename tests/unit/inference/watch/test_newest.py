import threading
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from scenerec.inference.watch.frames import Frame
from scenerec.inference.watch.newest import newest
from tests.patience import PATIENCE_S


def frame(number: int) -> Frame:
    return Frame(number, number / 10, 0.0, np.zeros((1, 1, 3), np.uint8))


class Camera:
    """Gives frames when it is told to; says when it is asked for the next."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.may_give = threading.Semaphore(0)
        self.asked = threading.Semaphore(0)
        self.released = threading.Event()
        self.ends = False

    def frames(self) -> Iterator[Frame]:
        try:
            for number in count():
                self.asked.release()
                assert self.may_give.acquire(timeout=PATIENCE_S)
                if self.ends:
                    if self.error:
                        raise self.error
                    return
                yield frame(number)
        finally:
            self.released.set()

    def give(self, frames: int) -> None:
        """Returns when all are taken out of the camera."""
        for _ in range(frames):
            assert self.asked.acquire(timeout=PATIENCE_S)
            self.may_give.release()
        assert self.asked.acquire(timeout=PATIENCE_S)
        self.asked.release()

    def end(self) -> None:
        self.ends = True
        self.may_give.release()


def test_who_is_slow_gets_the_newest_and_each_once() -> None:
    camera = Camera()
    frames = newest(camera.frames())
    threading.Thread(target=camera.give, args=(1,)).start()
    assert next(frames).number == 0
    camera.give(5)
    assert next(frames).number == 5
    camera.give(1)
    assert next(frames).number == 6
    camera.give(3)
    camera.end()
    assert camera.released.wait(PATIENCE_S)
    assert [each.number for each in frames] == [9], "the last comes in any case"


def test_who_is_quick_gets_all() -> None:
    camera = Camera()
    frames = newest(camera.frames())
    for number in range(5):
        threading.Thread(target=camera.give, args=(1,)).start()
        assert next(frames).number == number
    camera.end()
    assert list(frames) == []


def test_an_error_comes_after_the_frames_before_it() -> None:
    camera = Camera(OSError("unplugged"))
    frames = newest(camera.frames())
    threading.Thread(target=camera.give, args=(1,)).start()
    assert next(frames).number == 0
    camera.give(1)
    camera.end()
    assert next(frames).number == 1
    with pytest.raises(OSError, match="unplugged"):
        next(frames)


def test_who_has_enough_lets_the_camera_go() -> None:
    camera = Camera()
    frames = newest(camera.frames())
    threading.Thread(target=camera.give, args=(1,)).start()
    next(frames)
    closing = threading.Thread(target=frames.close)
    closing.start()
    while not camera.released.wait(0.05):  # it looks when the next frame comes
        camera.may_give.release()
    closing.join()
