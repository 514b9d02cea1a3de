"""`scenerec watch`: which scene a camera, a video, a stream or a folder of pictures shows, as it passes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.commands.image_location import ImageLocation
from scenerec.commands.named_bundle import open_named
from scenerec.commands.registry import DEFAULT_URL, RegistryUrl
from scenerec.commands.screen.overlay import Overlay
from scenerec.commands.screen.watch_lines import JsonLines, WatchLines
from scenerec.commands.standard_streams import complain
from scenerec.commands.watched import Watched
from scenerec.data.coordinates import coordinates_array
from scenerec.errors import ConfigError, DataError
from scenerec.inference.predictors.open_predictor import open_predictor, predictor_of
from scenerec.inference.predictors.predictor import Predictor, check_names_classes
from scenerec.inference.watch.changes import Thresholds
from scenerec.inference.watch.watcher import Watcher

app = typer.Typer()

_watched = options.panel("What is watched: one of the first four")
_scene = options.panel("When a scene is told")
_coordinates = options.panel("Coordinates")


@app.command(
    epilog="Example: scenerec watch bundles/fp32 --camera 0\n\n"
    "Example: scenerec watch photos@production --stream rtsp://door.local/live --json\n\n"
    "Example: scenerec watch model.tflite --video holiday.mp4 --every-frame --overlay told.mp4"
)
def watch(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A bundle (folder or s3://), a run, a model of the registry (NAME@production), or a .tflite file.",
        ),
    ],
    camera: Annotated[
        str | None, _watched(metavar="CAMERA", help="A camera of this machine: its number, or its device file.")
    ] = None,
    video: Annotated[Path | None, _watched(metavar="FILE", help="A video file, as quickly as it plays.")] = None,
    frames: Annotated[
        Path | None, _watched(metavar="FOLDER", help="A folder of images in order of name; none is skipped.")
    ] = None,
    stream: Annotated[
        str | None, _watched(metavar="URL", help="A camera of the network: rtsp://, rtmp://, http://.")
    ] = None,
    every_frame: Annotated[
        bool, _watched("--every-frame", help="Of a video: answer every frame, however long it takes.")
    ] = False,
    frames_per_s: Annotated[
        float, _watched("--fps", min=0.001, metavar="NUMBER", help="Of a folder: how many images make a second.")
    ] = 25.0,
    patience_s: Annotated[
        float, _watched("--patience", min=0, metavar="SECONDS", help="Of a stream: how long to wait where it stops.")
    ] = 300.0,
    smooth_s: Annotated[
        float, _scene("--smooth", min=0, metavar="SECONDS", help="Time constant of the smoothing; 0 smooths nothing.")
    ] = 0.5,
    enter: Annotated[float, _scene(min=0, max=1, help="Probability from which on a scene is told.")] = 0.6,
    leave: Annotated[float, _scene(min=0, max=1, help="Probability below which it no longer holds.")] = 0.4,
    dwell_s: Annotated[
        float, _scene("--dwell", min=0, metavar="SECONDS", help="How long another scene is seen before it is told.")
    ] = 0.5,
    latitude: Annotated[
        str | None, _coordinates(metavar="DEGREES", help="Where the camera is: degrees north.", show_default=False)
    ] = None,
    longitude: Annotated[str | None, _coordinates(metavar="DEGREES", help="Degrees east.", show_default=False)] = None,
    time: Annotated[
        str | None, _coordinates(metavar="DATE", help="When: an ISO date, such as 2024-06-21.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option("--threads", "-t", min=1, help="Of the network and the decoder.")] = 1,
    top_k: Annotated[int, typer.Option("--top", "-k", min=1, help="Classes to name in each answer.")] = 3,
    answers: Annotated[bool, typer.Option("--answers", help="With --json: also a line for each answer.")] = False,
    overlay: Annotated[
        str | None,
        typer.Option(
            metavar="window|FILE",
            help="Show frames with their scenes in a window, or write a .mp4 or .avi.",
        ),
    ] = None,
    registry: RegistryUrl = DEFAULT_URL,
    as_json: options.Json = False,
) -> None:
    """Name the scene that a camera, a video or a stream shows, in real time, and tell when it changes.

    Probabilities are smoothed over time. A scene is told once, when it has been probable for long enough, and holds
    until it is no longer. Where frames come faster than they are answered, the newest is, and others are skipped.

    Ctrl-C ends it. At the end it says how long it took from a decoded frame to its answer. An image of a folder that
    cannot be decoded is named on standard error, and the others go on; the exit code is then 4.
    """
    if leave > enter:
        raise ConfigError(f"--leave: must be at most --enter, {enter:g}, not {leave:g}")
    if answers and not as_json:
        raise ConfigError("--answers: are lines of JSON: add --json")
    location = ImageLocation.typed(latitude, longitude, time, from_exif=False)
    watched = Watched(camera, video, frames, stream, every_frame, frames_per_s, patience_s, threads)
    left_out: list[str] = []

    def leave_out(file: str, error: DataError) -> None:
        left_out.append(file)
        complain(f"error: {file}: {error}")

    canvas = Overlay(overlay)
    sequence = watched.open(leave_out)
    predictor = _open(model, registry, threads)
    if location.given and not predictor.takes_coordinates:
        raise ConfigError(f"--latitude: {predictor.name} does not read where a picture was taken: leave it out")
    coordinates = coordinates_array([location.given]) if location.given else None
    watcher = Watcher(predictor, smooth_s, Thresholds(enter, leave, dwell_s), coordinates)
    watcher.warm_up()
    lines = JsonLines(predictor.labels, top_k, answers) if as_json else WatchLines(predictor.labels)
    try:
        with _until_interrupted():
            for answer in watcher.watch(sequence):
                lines.show(answer, watcher.timing)
                canvas.show(answer, predictor.labels, watcher.timing)
    finally:
        canvas.close()
        lines.end(watcher.timing.summary())
    if left_out:
        raise typer.Exit(DataError.exit_code)


def _open(model: str, registry: str, threads: int) -> Predictor:
    if model.endswith(".tflite"):
        return open_predictor(options.location("MODEL", model), threads=threads)
    bundle = open_named("MODEL", model, registry)
    if bundle.info.task == "multilabel":
        raise ConfigError(
            f"MODEL {model}: gives several labels, and what is watched is one scene after the other: ask it by "
            "`scenerec predict`"
        )
    predictor = predictor_of(bundle, threads)
    check_names_classes(predictor)
    return predictor


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ends what is inside at Ctrl-C or SIGTERM, which is no error here: nothing else ends a camera."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
