"""Frames of cameras and of network streams, which come when they come."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import cv2

from scenerec.errors import ConfigError, DataError, system_reason
from scenerec.inference.watch.capture import live_frames, open_capture
from scenerec.inference.watch.frames import Frame
from scenerec.names import few

_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
_SILENCE_S = 10  # of a stream, after which it has stopped
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0


def camera_frames(name: str, camera: str) -> Iterator[Frame]:
    """Yields the frames of a camera of this machine, by its number or its device file, as they come.

    It is opened when the first is asked for. Raises DataError, beginning with `name`, where there is no such device;
    later where it is no camera, and when it gives no more.
    """
    device = f"/dev/video{camera}" if camera.isdecimal() else camera
    if sys.platform == "linux":
        _check_device(name, device)
    return _camera_frames(name, int(camera) if camera.isdecimal() else camera, device)


def stream_frames(name: str, url: str, patience_s: float, say: Callable[[str], None]) -> Iterator[Frame]:
    """Yields the frames of a stream as they come; connects when the first is asked for, and again where it stops.

    Args:
        name: what errors begin with.
        url: an rtsp://, rtsps://, rtmp://, http:// or https:// address.
        patience_s: how long to wait for a stream that has stopped, in seconds.
        say: is told that it has stopped, and that it is back.

    Raises:
        ConfigError: it is no such address.
        DataError: its host does not answer; later where that sends no video, or is away for longer.
    """
    _reach(name, url)
    return _stream_frames(name, url, patience_s, say)


def _check_device(name: str, device: str) -> None:
    if not Path(device).exists():
        others = sorted(map(str, Path("/dev").glob("video*")))
        raise DataError(f"{name}: there is no {device}: connected: {few(others) if others else 'no camera'}")
    if not os.access(device, os.R_OK | os.W_OK):
        raise DataError(f"{name}: {device} may not be used: add yourself to the group video, and log in again")


def _camera_frames(name: str, camera: int | str, device: str) -> Iterator[Frame]:
    capture = open_capture(camera, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
    if capture is None:
        raise DataError(f"{name}: {device} is no camera, or another program uses it")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    yield from live_frames(capture, 0, perf_counter())
    raise DataError(f"{name}: {device} gives no more frames: was it unplugged?")


def _stream_frames(name: str, url: str, patience_s: float, say: Callable[[str], None]) -> Iterator[Frame]:
    capture, number, began_at = _connect(name, url), 0, perf_counter()
    while True:
        for frame in live_frames(capture, number, began_at):
            number = frame.number + 1
            yield frame
        stopped_at = perf_counter()
        say(f"{name}: has stopped: connecting again for up to {patience_s:g} s")
        capture = _reconnect(name, url, stopped_at + patience_s)
        say(f"{name}: is back after {perf_counter() - stopped_at:.1f} s")


def _reconnect(name: str, url: str, deadline: float) -> cv2.VideoCapture:
    wait_s = _FIRST_WAIT_S
    while True:
        time.sleep(wait_s)
        try:
            return _connect(name, url)
        except DataError:
            if perf_counter() > deadline:
                raise
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _connect(name: str, url: str) -> cv2.VideoCapture:
    _reach(name, url)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _SILENCE_S * 1000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _SILENCE_S * 1000]
    # One thread decodes: each more would hold a frame back.
    capture = open_capture(url, cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, 1])
    if capture is None:
        raise DataError(f"{name}: its host answers, but not with a video")
    return capture


def _reach(name: str, url: str) -> None:
    """Raises DataError where the host does not answer: OpenCV would not say why."""
    host, port = _address(name, url)
    try:
        socket.create_connection((host, port), _SILENCE_S).close()
    except OSError as error:
        raise DataError(f"{name}: {host} does not answer at port {port}: {system_reason(error)}") from None


def _address(name: str, url: str) -> tuple[str, int]:
    """The host and port of a stream."""
    try:
        place = urlsplit(url)
        host, port = place.hostname, place.port
    except ValueError:  # which may quote a part of the password
        raise ConfigError(
            f"{name}: is no address: write rtsp://USER:PASSWORD@HOST:PORT/PATH, and of /, ?, #, [ and ] in a password "
            "%2F, %3F, %23, %5B and %5D"
        ) from None
    if place.scheme not in _PORTS or not host:
        raise ConfigError(f"{name}: must begin with {'://, '.join(_PORTS)}://, and name a host")
    return host, port or _PORTS[place.scheme]
