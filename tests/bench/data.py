"""What a core reads: encoded images to the network's batches, by this library and by what others use.

In each of the rounds every way takes its turn at the same images, from local files but for one, so that a busy machine
is busy for all of them; what counts is images per second of processor time, of all threads and processes, as the median
over the rounds. Two kinds of work: random crops of 224 px in 8 bits, and the same with brightness, contrast and
saturation of 0.4, normalised to float32.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from PIL import Image

from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from tests.bench.data_ways import BATCH, BUCKET, Work
from tests.bench.peers import UnavailableError, make_environment
from tests.bench.record import append_row
from tests.running_store import running_store

NAME = "data"
SIZES = ("256", "500x375")
JITTERS = (0.0, 0.4)
WAYS = {
    "tests.bench.data_torch": (
        "ours_torch",
        "ours_torch_s3",
        "imagefolder_pil",
        "torchvision_v2",
        "webdataset_pil",
        "decode_only",
    ),
    "tests.bench.data_tf": ("ours_tf", "tf_data"),
    "tests.bench.data_peers.dali": ("dali",),
    "tests.bench.data_peers.litdata": ("litdata",),
    "tests.bench.data_peers.mosaicml": ("mosaicml",),
}
"""What is measured, by the module that has it; each has a process of its own, peers with their own packages."""
BASE = "imagefolder_pil"
SKIPPED = {
    "FFCV": "there is no wheel of it: pip builds it, with OpenCV's and libjpeg-turbo's headers",
    "SPDL": "it decodes by FFmpeg's libraries, which its wheel does not bring",
}
BORROWING = ("litdata", "mosaicml")
"""Peers that take torch and torchvision from this environment."""


def main() -> None:
    """Prints images per CPU second and their ratios, and appends a row for each size, work and number of cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="?", help="folder of JPEGs, searched; drawn without it")
    parser.add_argument("--images", type=int, default=16 * BATCH)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--peers-folder", type=Path, default=Path("~/.cache/scenerec-bench/peers").expanduser(), metavar="FOLDER"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder, ExitStack() as processes:
        os.environ |= processes.enter_context(running_store(BUCKET))
        sets = _prepare(Path(folder), options.photographs, options.images)
        ways: dict[str, _Process] = {}
        for module, names in WAYS.items():
            try:
                process = processes.enter_context(_Process(module, options.peers_folder))
                ways |= dict.fromkeys(names, process)
            except UnavailableError as error:
                print(f"{', '.join(names)}: skipped: {error}")
        for cores, size, jitter in product(options.cores, SIZES, JITTERS):
            _compare(ways, Work("", str(sets[size]), jitter, cores, seed=0), size, options.rounds)
    for peer, reason in SKIPPED.items():
        print(f"{peer}: skipped: {reason}")


def _compare(ways: "dict[str, _Process]", work: Work, size: str, rounds: int) -> None:
    """One kind of work, all ways in turn; the first round is only to warm up."""
    found: dict[str, list[float]] = {way: [] for way in ways if not (way == "decode_only" and work.jitter)}
    for number in range(1 + rounds):
        for way, speeds in list(found.items()):
            try:
                speeds.append(ways[way].images_per_cpu_s(work._replace(way=way, seed=number)))
            except UnavailableError as error:
                print(f"{way}: skipped from here on: {error}")
                del found[way], ways[way]
    medians = {way: statistics.median(speeds[1:]) for way, speeds in found.items()}
    what = "float32 with jitter" if work.jitter else "uint8 crops"
    print(f"\n{size} px, {what}, {work.cores} core(s): images per CPU second, and over {BASE}", flush=True)
    for way, speed in medians.items():
        print(f"  {way:18} {speed:7.0f}  {speed / medians[BASE]:5.2f}", flush=True)
    figures = {way: round(medians[way]) if way in medians else "" for names in WAYS.values() for way in names}
    ratio = round(medians["ours_torch"] / medians[BASE], 2)
    figures_of_row = {"size": size, "work": what, "cores": work.cores, "rounds": rounds, **figures}
    append_row(NAME, {**figures_of_row, "ours_over_base": ratio})


class _Process:
    """A process in which one module's ways wait for work."""

    def __init__(self, module: str, peers: Path) -> None:
        python, requirements = Path(sys.executable), Path(f"{module.replace('.', '/')}.txt")
        if requirements.exists():
            borrows = requirements.stem in BORROWING
            python = make_environment(peers / requirements.stem, requirements, borrows) / "python"
        command = [str(python), "-m", "tests.bench.data_ways", module]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def images_per_cpu_s(self, work: Work) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(work) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise UnavailableError(f"its process ended with {self.process.wait()}")
        return float(answer)

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # at the end of its input it ends


def _prepare(folder: Path, photographs: Path | None, count: int) -> dict[str, Path]:
    """An ImageFolder and a packed set of each size."""
    if photographs is None:
        photographs = folder / "drawn"
        draw_scenes(photographs, 8, -(-count // 8), val_per_class=1, size=640, seed=0)
    files = sorted(file for file in photographs.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
    if len(files) < count:
        raise SystemExit(f"{photographs}: {len(files)} JPEGs, and {count} are wanted: give a number by --images")
    chosen = random.Random(0).sample(files, count)
    sets = {}
    for size in SIZES:
        sets[size] = folder / size
        for index, file in enumerate(chosen):
            target = sets[size] / "images" / "train" / f"class{index % 2}" / f"{index:05}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            _resized(Image.open(file).convert("RGB"), size).save(target, quality=90)
        source, destination = sets[size] / "images" / "train", sets[size] / "packed"
        for place in (str(destination), f"s3://{BUCKET}/{size}"):
            pack(PackRequest(source=source, destination=place, options=PackOptions()))
    return sets


def _resized(image: Image.Image, size: str) -> Image.Image:
    if size == "500x375":
        return image.resize((500, 375), Image.Resampling.LANCZOS)
    scale = int(size) / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
