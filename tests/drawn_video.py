"""Videos of plain colours: what is seen, and for how long."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

BGR = {"red": (20, 20, 240), "green": (20, 240, 20), "blue": (240, 20, 20)}
FRAMES_PER_S = 25.0


def draw_video(
    file: Path, shots: Sequence[tuple[str, int]], size: tuple[int, int] = (64, 48), codec: str = "mp4v"
) -> Path:
    """Writes a video of shots, each a colour and a number of frames, and returns it; `size` is width and height."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*codec), FRAMES_PER_S, size)
    assert writer.isOpened()
    for colour, frames in shots:
        for _ in range(frames):
            writer.write(np.full((size[1], size[0], 3), BGR[colour], np.uint8))
    writer.release()
    return file
