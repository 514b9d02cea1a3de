"""From frame to answer on one core: `scenerec watch` beside the loop that one writes with OpenCV and onnxruntime.

Both run the same network on the same 720p video, which plays in real time, in turns of a few seconds in one process on
one core. The time begins when a frame has been decoded, before its pixels are taken from the decoder, and ends with its
probabilities; where the machine computes other things as well, the processor's time an answer, with all decoding, tells
more. The plain loop does all in one thread: OpenCV's resizing, antialiased (INTER_AREA) as ours is, and for comparison
the one that is not (INTER_LINEAR), which sees other pixels.

Then the network is made slower than the video, and the age of the oldest frame is measured when its answering begins.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from scenerec.data.synthetic import draw_scene
from scenerec.data.synthetic_scenes import SCENES
from tests.bench.record import append_row
from tests.bench.watch_ways import Figures, Work

NAME = "watch"
WIDTH, HEIGHT, FRAMES_PER_S = 1280, 720, 30
WHAT = ("p50", "p99", "cpu")
"""What is measured of each way, in milliseconds."""
GOAL = 1.05
MOST_FRAME_TIMES = 2.0
_SHOT_FRAMES = 60


def main() -> None:
    """Prints both ways' times and their ratio, and appends a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="mobilenet_v3_small")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/scenerec-bench").expanduser(), metavar="FOLDER")
    options = parser.parse_args()
    from tests.bench.serving_material import bundle_folder  # torch, which the measured process does without

    bundle = bundle_folder(options.cache, options.arch)
    video = _video(options.cache / "watch-720p.mp4", round(options.seconds * FRAMES_PER_S))
    work = Work(str(bundle), str(video), options.rounds, 1 / FRAMES_PER_S)
    command = [sys.executable, "-m", "tests.bench.watch_ways", json.dumps(work)]
    figures = Figures(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    medians = {way: np.median(rounds, axis=0) for way, rounds in figures.ms.items()}
    for way, (p50, p99, cpu) in medians.items():
        print(f"{way:8} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  processor {cpu:6.2f} ms")
    ratios = np.median(np.array(figures.ms["ours"]) / np.array(figures.ms["area"]), axis=0)
    print(f"ours over area: p50 {ratios[0]:.3f}, p99 {ratios[1]:.3f}, processor {ratios[2]:.3f} (goal: {GOAL})")
    oldest = figures.oldest_s * FRAMES_PER_S
    print(
        f"behind, with {figures.skipped:.0%} skipped: the oldest is {oldest:.2f} frame times old ({MOST_FRAME_TIMES})"
    )
    print(f"peak memory of `scenerec watch`: {figures.peak_mb} MB")
    row = {}
    for name, values in {**medians, "ratio": ratios}.items():
        row |= {f"{name}_{what}": round(value, 3) for what, value in zip(WHAT, values, strict=True)}
    row |= {"behind_frame_times": round(oldest, 2), "peak_mb": figures.peak_mb}
    append_row(NAME, {"arch": options.arch, "rounds": options.rounds, **row})


def _video(file: Path, frames: int) -> Path:
    """Drawn scenes with the grain of a camera, over which it moves."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), FRAMES_PER_S, (WIDTH, HEIGHT))
    generator = np.random.default_rng(0)
    names = tuple(SCENES)
    for number in range(frames):
        if number % _SHOT_FRAMES == 0:
            drawn = draw_scene(names[number // _SHOT_FRAMES % len(names)], WIDTH + 2 * _SHOT_FRAMES, generator)
            scene = np.asarray(drawn)[..., ::-1]
        at = 2 * (number % _SHOT_FRAMES)
        grain = generator.normal(0, 6, (HEIGHT, WIDTH, 1))
        writer.write(np.clip(scene[at : at + HEIGHT, at : at + WIDTH] + grain, 0, 255).astype(np.uint8))
    writer.release()
    return file


if __name__ == "__main__":
    main()
