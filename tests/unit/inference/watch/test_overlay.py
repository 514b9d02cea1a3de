from pathlib import Path

import numpy as np
import pytest

from scenerec.errors import StorageError
from scenerec.inference.watch.frames import Frame
from scenerec.inference.watch.overlay import overlaid
from scenerec.inference.watch.video import video_frames
from scenerec.inference.watch.video_file import FRAMES_PER_S, VideoFile
from tests.unprivileged import unprivileged

GREY = (90, 90, 90)


def test_text_is_in_the_corner_and_the_rest_is_the_frame() -> None:
    bgr = np.random.default_rng(0).integers(0, 100, (90, 160, 3), dtype=np.uint8)
    shown = overlaid(Frame(0, 0.0, 0.0, bgr, "BGR"), ["beach 93.1%", "25 frames/s"])
    assert (shown.shape, shown.dtype) == (bgr.shape, np.uint8)
    np.testing.assert_array_equal(shown[45:], bgr[45:, :, ::-1])
    assert shown[:30, :100].max() > 200


@pytest.mark.parametrize("height, width", [(1, 1), (3, 200), (11, 7)])
def test_a_frame_may_be_smaller_than_the_text(height: int, width: int) -> None:
    shown = overlaid(Frame(0, 0.0, 0.0, np.zeros((height, width, 3), np.uint8)), ["beach"])
    assert shown.shape == (height, width, 3)


def test_skipped_frames_are_made_up_for_and_other_sizes_are_fitted(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.avi")
    for time_s, (height, width) in ((0.0, (48, 64)), (0.5, (30, 41)), (1.0, (48, 64))):
        video.write(time_s, np.full((height, width, 3), GREY, np.uint8))
    video.close()
    frames = list(video_frames("", tmp_path / "a.avi", 1, False, print))
    assert len(frames) == FRAMES_PER_S + 1
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with unprivileged(tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(StorageError, match=r"a\.avi: cannot be written as a video of 8 x 8 pixels"):
            VideoFile(tmp_path / "a.avi").write(0.0, np.zeros((8, 8, 3), np.uint8))
        tmp_path.chmod(0o700)
