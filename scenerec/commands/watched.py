"""What `scenerec watch` was told to watch, opened."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scenerec.commands import options
from scenerec.commands.image_source import named_images, read_image
from scenerec.commands.standard_streams import complain
from scenerec.errors import ConfigError, DataError
from scenerec.inference.watch.frames import Frame, picture_frames
from scenerec.inference.watch.newest import newest
from scenerec.names import without_password


@dataclass(frozen=True)
class Watched:
    """What is watched, as it was typed; one of the first four is not None."""

    camera: str | None
    """Number or device file of a camera."""
    video: Path | None
    """Video file."""
    frames: Path | None
    """Folder of images."""
    stream: str | None
    """Address of a stream."""
    every_frame: bool
    """Of a video: no frame is skipped."""
    frames_per_s: float
    """Of a folder: images a second."""
    patience_s: float
    """Of a stream: how long to wait where it has stopped."""
    threads: int
    """Threads that decode a video file."""

    def open(self, leave_out: Callable[[str, DataError], None]) -> Iterator[Frame]:
        """Returns the frames, of what is live only ever the newest.

        What can be told at once is checked: raises ConfigError, DataError. `leave_out` is told of each image of a
        folder that cannot be decoded.
        """
        sources = {"--camera": self.camera, "--video": self.video, "--frames": self.frames, "--stream": self.stream}
        given = {option: value for option, value in sources.items() if value is not None}
        if len(given) != 1:
            raise ConfigError(f"{' '.join(given) or 'nothing to watch'}: give one of {', '.join(sources)}")
        if self.every_frame and self.video is None:
            raise ConfigError("--every-frame: is for a --video: what is live does not wait")
        ((option, value),) = given.items()
        name = f"{option} {without_password(str(value))}"
        if self.frames is not None:
            images = list(named_images([str(options.local_path("--frames", self.frames))]))
            return picture_frames(images, read_image, self.frames_per_s, leave_out)
        # They import OpenCV.
        from scenerec.inference.watch.live import camera_frames, stream_frames
        from scenerec.inference.watch.video import video_frames

        if self.camera is not None:
            return newest(camera_frames(name, self.camera))
        if self.stream is not None:
            return newest(stream_frames(name, self.stream, self.patience_s, complain))
        file = options.local_path("--video", self.video or Path())
        frames = video_frames(name, file, self.threads, not self.every_frame, complain)
        return frames if self.every_frame else newest(frames)
