"""A camera of the network: RTSP (RFC 2326) with JPEG pictures in RTP packets (RFC 2435), over one TCP connection."""

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import cv2
import numpy as np

FRAMES_PER_S = 25
_CLOCK_HZ = 90_000
_PAYLOAD_TYPE = 26
_PACKET_BYTES = 1400
_SUBSAMPLED_TO_420 = 1
_OWN_TABLES = 255
_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track0\r\n"
_HEADERS = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
    "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
}


@contextmanager
def rtsp_camera(pixels: np.ndarray, frames: int) -> Iterator[str]:
    """The address of a camera that shows `frames` pictures to whoever comes, and hangs up; sides are multiples of 8."""

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while request := b"".join(iter(self.rfile.readline, b"\r\n")).decode():
                method = request.partition(" ")[0]
                number = next(line for line in request.splitlines() if line.lower().startswith("cseq"))
                head = f"RTSP/1.0 200 OK\r\n{number}\r\nSession: 1\r\n{_HEADERS.get(method, '')}\r\n"
                self.wfile.write((head + (_SDP if method == "DESCRIBE" else "")).encode())
                if method == "PLAY":
                    with suppress(ConnectionError):  # who has seen enough hangs up
                        self.wfile.writelines(_packets(pixels, frames))
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/live"
        server.shutdown()


def _packets(pixels: np.ndarray, frames: int) -> Iterator[bytes]:
    tables, scan = _parts_of_jpeg(cv2.imencode(".jpg", pixels)[1].tobytes())
    sizes = bytes([pixels.shape[1] // 8, pixels.shape[0] // 8])
    sequence = 0
    for number in range(frames):
        for at in range(0, len(scan), _PACKET_BYTES):
            part, is_last = scan[at : at + _PACKET_BYTES], at + _PACKET_BYTES >= len(scan)
            own_tables = struct.pack(">BBH", 0, 0, len(tables)) + tables if at == 0 else b""
            jpeg = struct.pack(">I", at) + bytes([_SUBSAMPLED_TO_420, _OWN_TABLES]) + sizes + own_tables + part
            stamp = number * _CLOCK_HZ // FRAMES_PER_S
            rtp = struct.pack(">BBHII", 0x80, _PAYLOAD_TYPE | is_last << 7, sequence & 0xFFFF, stamp, 1) + jpeg
            yield b"$\0" + struct.pack(">H", len(rtp)) + rtp
            sequence += 1
        time.sleep(1 / FRAMES_PER_S)


def _parts_of_jpeg(content: bytes) -> tuple[bytes, bytes]:
    """Its quantisation tables, and what is coded by them; Huffman's tables are the usual ones."""
    at, tables = 2, b""
    while content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at + 1] == 0xDB:
            segment = content[at + 4 : at + 2 + length]
            tables += b"".join(segment[start + 1 : start + 65] for start in range(0, len(segment), 65))
        at += 2 + length
    begins = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return tables, content[begins : content.rindex(b"\xff\xd9")]
