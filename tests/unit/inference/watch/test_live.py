import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from cluster.loopback import free_ports
from scenerec.errors import ConfigError, DataError
from scenerec.inference.watch.live import camera_frames, stream_frames
from tests.rtsp_camera import rtsp_camera

BOUNDARY = "frame"
FRAMES = 30
"""Of a connection, after which the camera hangs up."""


class Camera(BaseHTTPRequestHandler):
    """An IP camera: JPEGs in one endless answer, as `multipart/x-mixed-replace`; this one's end."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        picture = cv2.imencode(".jpg", np.full((48, 64, 3), (20, 20, 240), np.uint8))[1].tobytes()
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
        for _ in range(FRAMES):
            self.wfile.write(head + picture + b"\r\n")

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a camera, while it is on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/live.mjpg"
        server.shutdown()


@pytest.fixture
def camera() -> Iterator[str]:
    with served(Camera) as url:
        yield url


def test_a_stream_that_stops_is_connected_again(camera: str) -> None:
    said: list[str] = []
    frames = stream_frames("--stream x", camera, 60, said.append)
    found = [next(frames) for _ in range(FRAMES + 10)]
    frames.close()
    assert [frame.number for frame in found] == list(range(len(found)))
    assert {frame.pixels.shape for frame in found} == {(48, 64, 3)}
    times = [frame.time_s for frame in found]
    assert times == sorted(times)
    assert said[0] == "--stream x: has stopped: connecting again for up to 60 s"
    assert said[1].startswith("--stream x: is back after ")


def test_a_stream_that_stays_away_ends_it() -> None:
    said: list[str] = []
    with served(Camera) as url:
        frames = stream_frames("--stream x", url, 0, said.append)
        next(frames)
    with pytest.raises(DataError, match=r"--stream x: 127\.0\.0\.1 does not answer at port"):
        list(frames)
    assert said == ["--stream x: has stopped: connecting again for up to 0 s"]


@pytest.mark.parametrize(
    "url", ["door.local/live", "ftp://door.local/live", "rtsp://", "rtsp://door:x/", "http://[bad/"]
)
def test_what_is_no_address_of_a_stream_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"--stream x: (must begin with rtsp://|is no address)"):
        stream_frames("--stream x", url, 1, print)


def test_who_does_not_answer_is_named() -> None:
    port = free_ports(("camera",))["camera"]
    with pytest.raises(DataError, match=f"127.0.0.1 does not answer at port {port}: Connection refused"):
        stream_frames("--stream x", f"rtsp://127.0.0.1:{port}/live", 1, print)


def test_who_answers_with_something_else_is_named(camera: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Camera, "do_GET", lambda self: self.send_error(404))
    with pytest.raises(DataError, match="--stream x: its host answers, but not with a video"):
        next(stream_frames("--stream x", camera, 1, print))


@pytest.mark.skipif(Path("/dev/video77").exists(), reason="there are 78 cameras")
def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="--camera 77: there is no /dev/video77: connected: "):
        camera_frames("--camera 77", "77")


def test_a_device_that_is_no_camera_is_named() -> None:
    with pytest.raises(DataError, match="--camera /dev/null: /dev/null is no camera"):
        next(camera_frames("--camera /dev/null", "/dev/null"))


@pytest.mark.slow
def test_a_camera_of_the_network_is_seen_by_rtsp() -> None:
    shown = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    shown = cv2.resize(shown, (320, 240), interpolation=cv2.INTER_LINEAR)
    with rtsp_camera(shown, frames=50) as url:
        frames = stream_frames("--stream x", url, 60, print)
        found = [next(frames) for _ in range(5)]
        frames.close()
    assert [frame.number for frame in found] == list(range(5))
    assert found[-1].pixels.shape == shown.shape
    assert np.abs(found[-1].pixels.astype(int) - shown).mean() < 6
