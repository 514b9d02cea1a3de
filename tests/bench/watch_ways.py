"""The two ways from frame to answer that `tests.bench.watch` compares, in a process with one core and no framework."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import cv2
import numpy as np

from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.predictor import Predictor, softmax
from scenerec.inference.watch.changes import Thresholds
from scenerec.inference.watch.frames import Frame
from scenerec.inference.watch.newest import newest
from scenerec.inference.watch.video import Pace, video_frames
from scenerec.inference.watch.watcher import Watcher

_BEHIND_S = 0.05  # an answer of a slow network takes, and more than a frame time
_WARM_UP_FRAMES = 10
_PEAK = """
import sys
from pathlib import Path
from scenerec.cli import main
try:
    main()
finally:
    (peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(int(peak) // 1000)
"""


class Work(NamedTuple):
    """What is measured."""

    bundle: str
    video: str
    rounds: int
    frame_s: float


@dataclass
class Figures:
    """What was measured."""

    ms: dict[str, list[tuple[float, float, float]]]
    """Of each round, by way: p50 and p99 from frame to answer, and processor time an answer, with all decoding."""
    oldest_s: float
    """Age of the oldest frame when its answering began, by a network that is slower than the video."""
    skipped: float
    """Share of the frames that it skipped."""
    peak_mb: int
    """Largest resident memory of a process of `scenerec watch`."""


def main() -> None:
    """Prints the figures of the work that it is given."""
    work = Work(*json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    bundle = open_bundle(work.bundle)
    video = Path(work.video)
    network = OnnxPredictor(bundle, threads=1)
    ways: dict[str, Callable[[], Iterator[float]]] = {
        "ours": lambda: _ours(network, video),
        "area": lambda: _plain(bundle, network, video, work.frame_s, cv2.INTER_AREA),
        "linear": lambda: _plain(bundle, network, video, work.frame_s, cv2.INTER_LINEAR),
    }
    ms: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(work.rounds):
        for way, play in ways.items():
            before_s = process_time()
            taken_ms = np.array(list(play())) * 1e3
            cpu_ms = (process_time() - before_s) * 1e3 / len(taken_ms)
            usual_ms = taken_ms[_WARM_UP_FRAMES:]
            ms[way].append((float(np.median(usual_ms)), float(np.quantile(usual_ms, 0.99)), cpu_ms))
    behind = _watcher(_Slow(network))
    for _ in behind.watch(_live(video)):
        pass
    summary = behind.timing.summary()
    skipped = summary.skipped / (summary.frames + summary.skipped)
    print(json.dumps(asdict(Figures(ms, summary.oldest_ms / 1e3, skipped, _peak_mb(work)))))


def _ours(network: Predictor, video: Path) -> Iterator[float]:
    """Seconds from frame to answer of `scenerec watch`."""
    for answer in _watcher(network).watch(_live(video)):
        yield answer.latency_s


def _plain(bundle: Bundle, network: OnnxPredictor, video: Path, frame_s: float, resizing: int) -> Iterator[float]:
    """The same of a loop in one thread."""
    size = bundle.info.preprocessing.image_size
    short = round(size / bundle.info.preprocessing.eval_crop_ratio)
    capture, pace, number = cv2.VideoCapture(str(video)), Pace(frame_s), 0
    while True:
        pace.await_decoding()
        if not capture.grab():
            return
        pace.await_time(number * frame_s)
        number += 1
        began = perf_counter()
        _, frame = capture.retrieve()
        height, width = frame.shape[:2]
        scale = short / min(height, width)
        frame = cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=resizing)
        top, left = (frame.shape[0] - size) // 2, (frame.shape[1] - size) // 2
        image = cv2.cvtColor(frame[top : top + size, left : left + size], cv2.COLOR_BGR2RGB)
        (logits,) = network.session.run(["logits"], {network.input_name: image[np.newaxis]})
        softmax(logits, 1.0)
        yield perf_counter() - began


def _live(video: Path) -> Iterator[Frame]:
    return newest(video_frames("--video", video, 1, True, print))


def _watcher(network: Predictor) -> Watcher:
    return Watcher(network, 0.5, Thresholds(enter=0.6, leave=0.4, dwell_s=0.5))


class _Slow:
    """A network that takes longer than a frame: the same one, computed again and again."""

    def __init__(self, network: Predictor) -> None:
        self.network = network
        self.image_size, self.eval_crop_ratio = network.image_size, network.eval_crop_ratio
        self.name, self.labels, self.takes_coordinates = network.name, network.labels, network.takes_coordinates

    def logits(self, images: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        ends_at = perf_counter() + _BEHIND_S
        while True:
            logits = self.network.logits(images, coordinates)
            if perf_counter() > ends_at:
                return logits


def _peak_mb(work: Work) -> int:
    command = [sys.executable, "-c", _PEAK, "watch", work.bundle, "--video", work.video, "--every-frame", "--json"]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
