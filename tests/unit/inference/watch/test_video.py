from pathlib import Path

import numpy as np
import pytest

from scenerec.errors import DataError
from scenerec.inference.watch import video
from scenerec.inference.watch.frames import Frame
from scenerec.inference.watch.video import Pace, video_frames
from tests.clock import set_clock
from tests.drawn_video import BGR, FRAMES_PER_S, draw_video


def frames_of(file: Path, said: list[str] | None = None) -> list[Frame]:
    return list(video_frames("--video x", file, 1, False, (said if said is not None else []).append))


@pytest.mark.parametrize("name, codec", [("a.mp4", "mp4v"), ("a.avi", "MJPG")])
def test_every_frame_comes_with_its_time(tmp_path: Path, name: str, codec: str) -> None:
    found = frames_of(draw_video(tmp_path / name, [("red", 10), ("blue", 10)], codec=codec))
    assert [frame.number for frame in found] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in found], np.arange(20) / FRAMES_PER_S, atol=1e-3)
    assert {(frame.pixels.shape, frame.channels) for frame in found} == {((48, 64, 3), "BGR")}
    np.testing.assert_allclose(found[3].pixels.mean((0, 1)), BGR["red"], atol=4)
    np.testing.assert_allclose(found[-1].pixels.mean((0, 1)), BGR["blue"], atol=4)


@pytest.mark.parametrize("size", [(2, 2), (34, 18), (130, 6)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    (frame,) = frames_of(draw_video(tmp_path / "odd.avi", [("green", 1)], size, "MJPG"))
    assert frame.pixels.shape == (size[1], size[0], 3)


def test_a_video_that_breaks_off_says_so(tmp_path: Path) -> None:
    file = draw_video(tmp_path / "a.avi", [("red", 60)], codec="MJPG")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    said: list[str] = []
    found = frames_of(file, said)
    assert 0 < len(found) < 60
    assert said == [f"--video x: ends after {len(found)} of 60 frames: is the file whole?"]


@pytest.mark.parametrize("content", [b"", b"not a video", b"\0" * 5000])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DataError, match="--video x: is no video that can be decoded"):
        frames_of(tmp_path / "a.mp4")


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        frames_of(tmp_path / "gone.mp4")
    with pytest.raises(DataError, match="is a folder: use --frames"):
        frames_of(tmp_path)


class TestPace:
    def test_frames_pass_when_they_are_due(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = set_clock(monkeypatch, video)
        pace, decoded_at, due_at = Pace(0.04), [], []
        for time_s in (0.0, 0.04, 0.08, 0.2):  # the last is late by its own stamp
            pace.await_decoding()
            decoded_at.append(clock.now_s)
            clock.now_s += 0.01
            pace.await_time(time_s)
            due_at.append(clock.now_s)
        np.testing.assert_allclose(due_at, [0.01, 0.05, 0.09, 0.2], atol=1e-9)
        np.testing.assert_allclose(decoded_at, [0.0, 0.04, 0.08, 0.12], atol=1e-9)

    def test_a_slow_decoder_slows_the_video_and_makes_no_frame_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = set_clock(monkeypatch, video)
        pace = Pace(0.04)
        for number in range(50):
            pace.await_decoding()
            clock.now_s += 0.1
            pace.await_time(number * 0.04)
        assert sum(clock.slept_s) < 1e-9
