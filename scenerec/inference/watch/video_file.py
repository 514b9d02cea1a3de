"""Frames written as a video file."""

from pathlib import Path

import cv2
import numpy as np

from scenerec.errors import StorageError

FRAMES_PER_S = 30
"""Of the video files that are written."""
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""Codes of OpenCV, by the suffix of a video file that can be written."""


class VideoFile:
    """Writes frames as a video of FRAMES_PER_S and of the first one's size, each as often as its time asks for.

    Args:
        file: with a suffix of CODECS. It is a video once it is closed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._size = (0, 0)
        self._written = 0
        self._writer: cv2.VideoWriter | None = None

    def write(self, time_s: float, pixels: np.ndarray) -> None:
        """Writes a frame, uint8 RGB [height, width, 3], up to a time in seconds from the first.

        A frame that was skipped is made up for by this one. Raises StorageError where the file cannot be written.
        """
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        if self._writer is None:
            self._size = pixels.shape[1], pixels.shape[0]
            self._writer = self._open()
        if bgr.shape[1::-1] != self._size:
            bgr = cv2.resize(bgr, self._size, interpolation=cv2.INTER_AREA)
        while self._written <= time_s * FRAMES_PER_S:
            self._writer.write(bgr)
            self._written += 1

    def close(self) -> None:
        """Writes what makes the file a video."""
        if self._writer is not None:
            self._writer.release()

    def _open(self) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*CODECS[self._file.suffix.lower()])
        writer = cv2.VideoWriter(str(self._file), code, FRAMES_PER_S, self._size)
        if not writer.isOpened():
            raise StorageError(
                f"{self._file}: cannot be written as a video of {self._size[0]} x {self._size[1]} pixels"
            )
        return writer
