"""What `scenerec watch --overlay` shows: each answered frame, with the scene and the speed written over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scenerec.commands.results import result_file
from scenerec.commands.screen.watch_lines import scene_text, speed
from scenerec.commands.screen.watch_window import WatchWindow
from scenerec.errors import ConfigError
from scenerec.inference.watch.overlay import overlaid
from scenerec.inference.watch.timing import Timing
from scenerec.inference.watch.watcher import Answer

if TYPE_CHECKING:  # it imports OpenCV
    from scenerec.inference.watch.video_file import VideoFile

WINDOW = "window"
"""Stands for a window in the place of a file."""


class Overlay:
    """Shows answered frames in a window, or writes them to a video file; does neither where none is wanted.

    Args:
        target: `window`, a file, or None.

    Raises:
        ConfigError: there is no display, or the file is of another kind.
        StorageError: the file cannot be written.
    """

    def __init__(self, target: str | None) -> None:
        self._canvas: VideoFile | WatchWindow | None = None
        if target == WINDOW:
            self._canvas = WatchWindow("scenerec watch")
        elif target is not None:
            self._canvas = _video_file(target)

    def show(self, answer: Answer, labels: Sequence[str], timing: Timing) -> None:
        """Shows a frame. Raises KeyboardInterrupt where the window was closed, StorageError."""
        if self._canvas:
            lines = scene_text(answer, labels), speed(timing.summary())
            self._canvas.write(answer.frame.time_s, overlaid(answer.frame, lines))

    def close(self) -> None:
        """Takes the window away; completes the file."""
        if self._canvas:
            self._canvas.close()


def _video_file(typed: str) -> "VideoFile":
    from scenerec.inference.watch.video_file import CODECS, VideoFile  # OpenCV

    file = result_file("--overlay", Path(typed))
    if file is None or file.suffix.lower() not in CODECS:
        raise ConfigError(f"--overlay {typed}: must be {WINDOW}, or a file that ends in {' or '.join(CODECS)}")
    return VideoFile(file)
