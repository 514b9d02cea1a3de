"""`scenerec data synthetic`: drawn scenes to try everything with."""

from pathlib import Path
from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.commands.data.packed import print_json
from scenerec.commands.results import local_folder
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.data.synthetic import draw_scenes
from scenerec.data.synthetic_coordinates import DrawnCoordinates
from scenerec.data.synthetic_multilabel import draw_collages
from scenerec.errors import ConfigError

app = typer.Typer()


@app.command()
def synthetic(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    classes: Annotated[
        int, typer.Option(min=2, max=24, help="Kinds of scenes: 12 there are, and each twice with --coordinates place.")
    ] = 6,
    train_per_class: Annotated[int, typer.Option(min=1, help="Training images of each.")] = 120,
    val_per_class: Annotated[int, typer.Option(min=1, help="Validation images of each.")] = 30,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the images, in pixels.")] = 96,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same bytes.")] = 0,
    coordinates: Annotated[
        DrawnCoordinates,
        typer.Option(
            help="Write coordinates.csv, too. place: each scene stands in two classes that look alike, and only where "
            "they were taken tells them apart; noise: coordinates tell nothing."
        ),
    ] = "none",
    multilabel: Annotated[
        bool,
        typer.Option("--multilabel", help="Up to three scenes in a picture, listed in labels.csv: a multi-label set."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Draw a small ImageFolder of scenes (beach, city, forest, ...) to try everything with, and its places.csv.

    Examples:

        scenerec data synthetic scenes/ --classes 8

        scenerec data pack scenes/ packed/

        scenerec data synthetic located/ --coordinates place

        scenerec data synthetic collages/ --multilabel
    """
    place = local_folder("FOLDER", folder)
    if multilabel and coordinates != "none":
        raise ConfigError("--coordinates: is for pictures of one scene: leave it or --multilabel out")
    with ProgressBar("drawing") as progress:
        if multilabel:
            train, val = classes * train_per_class, classes * val_per_class
            names = draw_collages(place, classes, train, val, size, seed, progress.show)
        else:
            names = draw_scenes(place, classes, train_per_class, val_per_class, size, seed, progress.show, coordinates)
    typer.echo(f"{folder}: {progress.total} images of {', '.join(names)}.")
    if as_json:
        counts = {"train": classes * train_per_class, "val": classes * val_per_class}
        print_json({"folder": str(folder), "classes": names, **counts})
