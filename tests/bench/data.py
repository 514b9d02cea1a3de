"""What a core reads: encoded images to the network's batches, by this library and by what others use.

In each of the rounds every way takes its turn at the same images, from local files, so that a busy machine is busy for
all of them; what counts is images per second of processor time, of all threads and processes, as the median over the
rounds. Two kinds of work: random crops of 224 px in 8 bits, and the same with brightness, contrast and saturation of
0.4, normalised to float32.
"""

import argparse
import random
import statistics
import tempfile
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image

from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from tests.bench.data_ways import BATCH, Work
from tests.bench.record import append_row

NAME = "data"
SIZES = ("256", "500x375")
JITTERS = (0.0, 0.4)
WAYS = {
    "torch": ("ours_torch", "imagefolder_pil", "torchvision_v2", "webdataset_pil", "decode_only"),
    "tf": ("ours_tf", "tf_data"),
}
"""What is measured, by the framework in whose process it is."""
BASE = "imagefolder_pil"
NOT_MEASURED = {
    "DALI, FFCV, SPDL, MosaicML Streaming, litData": "not among this project's packages",
}


def main() -> None:
    """Prints images per CPU second and their ratios, and appends a row for each size, work and number of cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="?", help="folder of JPEGs, searched; drawn without it")
    parser.add_argument("--images", type=int, default=8 * BATCH)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
        sets = _prepare(Path(folder), options.photographs, options.images)
        processes = {framework: _Process(framework) for framework in WAYS}
        try:
            for cores in options.cores:
                for size in SIZES:
                    for jitter in JITTERS:
                        _compare(processes, sets[size], size, jitter, cores, options.rounds)
        finally:
            for process in processes.values():
                process.end()
    for peer, reason in NOT_MEASURED.items():
        print(f"{peer}: skipped: {reason}")


def _compare(processes: "dict[str, _Process]", folder: Path, size: str, jitter: float, cores: int, rounds: int) -> None:
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for framework, ways in WAYS.items():
            for way in ways:
                if way == "decode_only" and jitter:
                    continue
                work = Work(way, str(folder), jitter, cores, seed=number)
                found.setdefault(way, []).append(processes[framework].images_per_cpu_s(work))
    medians = {way: statistics.median(speeds) for way, speeds in found.items()}
    what = "float32 with jitter" if jitter else "uint8 crops"
    print(f"\n{size} px, {what}, {cores} core(s): images per CPU second, over {BASE}", flush=True)
    for way, speed in medians.items():
        print(f"  {way:18} {speed:7.0f}  {speed / medians[BASE]:5.2f}", flush=True)
    figures = {way: round(medians[way]) if way in medians else "" for ways in WAYS.values() for way in ways}
    ratio = round(medians["ours_torch"] / medians[BASE], 2)
    append_row(NAME, {"size": size, "work": what, "cores": cores, "rounds": rounds, **figures, "ours_over_base": ratio})


class _Process:
    """A process in which one framework is imported, and waits for work."""

    def __init__(self, framework: str) -> None:
        context = get_context("spawn")
        self.work, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(framework, theirs))
        self.process.start()

    def images_per_cpu_s(self, work: Work) -> float:
        self.work.send(work)
        return float(self.work.recv())

    def end(self) -> None:
        self.work.close()
        self.process.join()


def _serve(framework: str, work: Connection) -> None:
    from tests.bench.data_ways import measure

    try:
        while True:
            work.send(measure(framework, work.recv()))
    except EOFError:
        return


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
        pack(PackRequest(source=source, destination=str(destination), options=PackOptions()))
    return sets


def _resized(image: Image.Image, size: str) -> Image.Image:
    if size == "500x375":
        return image.resize((500, 375), Image.Resampling.LANCZOS)
    scale = int(size) / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
