"""`scenerec predict --output` beside the loop that one writes with onnxruntime, in turns in one process, on all cores.

Both open the same bundle and read, decode (by the same decoder) and answer the same files; ours lists them as well,
writes the listing down, and ends with a table in Parquet. The loop comes in two forms. In `threads` each core decodes a
batch and runs it, with one thread of operators; in `pipeline`, which most write, a pool decodes ahead, and the session
has all cores for its operators. Ours is measured against the faster one of each round; where the machine computes other
things as well, the processor's time an image, beside that of the frugal one, tells more.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from scenerec.data.picture import SUFFIXES
from scenerec.data.pool import default_processes
from scenerec.data.synthetic import draw_scenes
from scenerec.inference.bulk.prediction import bundle_sha256, predict_here
from scenerec.inference.bulk.request import BATCH_SIZE, PredictRequest, Question
from scenerec.inference.bundles.bundle import Bundle, open_bundle
from scenerec.inference.predictors.onnx_predictor import open_session
from scenerec.inference.predictors.photograph import Preparer
from tests.bench.record import append_row
from tests.bench.serving_material import bundle_folder

NAME = "predict"
GOAL = 0.9
TOP_K = 5


def main() -> None:
    """Prints images/s of each way and the ratio, and appends a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="?", help="A folder of images; drawn without it.")
    parser.add_argument("--arch", default="mobilenet_v3_small")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/scenerec-bench").expanduser(), metavar="FOLDER")
    options = parser.parse_args()
    bundle = open_bundle(str(bundle_folder(options.cache, options.arch)))
    speeds: dict[str, list[float]] = {"ours": [], "threads": [], "pipeline": []}
    cpu_ms: dict[str, list[float]] = {way: [] for way in speeds}
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
        files = _repeated(options.photographs or _drawn(Path(folder)), options.images, Path(folder, "photos"))
        ways: dict[str, Callable[[], int]] = {
            "ours": lambda: _ours(bundle, Path(folder), options.batch_size),
            "threads": lambda: _threads(bundle, files, options.batch_size),
            "pipeline": lambda: _pipeline(bundle, files, options.batch_size),
        }
        for answer in ways.values():
            answer()  # into the page cache
        for number in range(options.rounds):
            for way in list(ways)[:: 1 if number % 2 else -1]:
                began_s, used_s = time.perf_counter(), time.process_time()
                assert ways[way]() == options.images
                speeds[way].append(options.images / (time.perf_counter() - began_s))
                cpu_ms[way].append(1000 * (time.process_time() - used_s) / options.images)
    medians = {way: float(np.median(each)) for way, each in speeds.items()}
    cpu_medians_ms = {way: float(np.median(each)) for way, each in cpu_ms.items()}
    for way, median in medians.items():
        rounds = ", ".join(f"{each:.0f}" for each in speeds[way])
        print(f"{way:9} {median:7.1f} images/s ({rounds}), {cpu_medians_ms[way]:.2f} ms of a processor each")
    fastest = np.maximum(speeds["threads"], speeds["pipeline"])
    ratio = float(np.median(np.array(speeds["ours"]) / fastest))
    cpu_ratio = float(np.median(np.minimum(cpu_ms["threads"], cpu_ms["pipeline"]) / np.array(cpu_ms["ours"])))
    print(f"ours over the faster loop: {ratio:.3f}, by the processor's time {cpu_ratio:.3f} (goal: {GOAL})")
    figures = {f"{way}_images_per_s": round(median, 1) for way, median in medians.items()}
    figures |= {f"{way}_cpu_ms": round(median, 3) for way, median in cpu_medians_ms.items()}
    asked = {"arch": options.arch, "images": options.images, "rounds": options.rounds, "batch": options.batch_size}
    append_row(NAME, {**asked, **figures, "ratio": round(ratio, 3), "cpu_ratio": round(cpu_ratio, 3)})


def _ours(bundle: Bundle, folder: Path, batch_size: int) -> int:
    question = Question(
        sources=(str(folder / "photos"),),
        model_sha256=bundle_sha256(bundle),
        form="parquet",
        top_k=TOP_K,
        batch_size=batch_size,
    )
    output = folder / "answers"
    shutil.rmtree(output, ignore_errors=True)
    return predict_here(PredictRequest(question=question, model=bundle.url, output=str(output)), bundle).answered


def _threads(bundle: Bundle, files: Sequence[Path], batch_size: int) -> int:
    session, prepare = open_session(bundle.model_file, threads=1), _preparer(bundle)

    def answer(batch: Sequence[Path]) -> np.ndarray:
        images = np.stack([prepare(file.read_bytes()) for file in batch])
        return _ranked(session.run(["probabilities"], {session.get_inputs()[0].name: images})[0])

    with ThreadPoolExecutor(default_processes()) as pool:
        return len(np.concatenate(list(pool.map(answer, _batches(files, batch_size)))))


def _pipeline(bundle: Bundle, files: Sequence[Path], batch_size: int) -> int:
    session, prepare = open_session(bundle.model_file), _preparer(bundle)

    def decode(batch: Sequence[Path]) -> np.ndarray:
        return np.stack([prepare(file.read_bytes()) for file in batch])

    with ThreadPoolExecutor(default_processes()) as pool:
        name = session.get_inputs()[0].name
        answers = [
            _ranked(session.run(["probabilities"], {name: images})[0])
            for images in pool.map(decode, _batches(files, batch_size))
        ]
    return len(np.concatenate(answers))


def _batches(files: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [files[at : at + size] for at in range(0, len(files), size)]


def _ranked(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, axis=1)[:, :TOP_K]


def _preparer(bundle: Bundle) -> Preparer:
    preprocessing = bundle.info.preprocessing
    return Preparer.of(preprocessing)


def _repeated(photographs: Path, count: int, folder: Path) -> list[Path]:
    """Links to the images of a folder, again and again, in a folder of their own."""
    found = sorted(path for path in photographs.rglob("*") if path.suffix.lower() in SUFFIXES)
    folder.mkdir()
    links = [folder / f"{index:06}{found[index % len(found)].suffix}" for index in range(count)]
    for index, link in enumerate(links):
        link.symlink_to(found[index % len(found)].absolute())
    return links


def _drawn(folder: Path) -> Path:
    draw_scenes(folder / "scenes", train_per_class=40, val_per_class=1, size=400)
    return folder / "scenes"


if __name__ == "__main__":
    main()
