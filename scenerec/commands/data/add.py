"""`scenerec data add`: more images for a set that is packed already."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.data.pack import parsed_splits, run_on_cluster
from scenerec.commands.data.packed import CoordinatesFromExif, CoordinateTable, Processes, print_json
from scenerec.commands.kinds import ADD
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.data.packing.add import Addition, AddRequest, AddResult
from scenerec.data.packing.nesting import Nested
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.packing.raw_set import PACKED_ALL_THE_SAME
from scenerec.data.pool import default_processes, process_runner
from scenerec.data.splits import split_of

app = typer.Typer()

_source, _shards = map(options.panel, ("Source", "Shards"))


@app.command()
def add(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of images, or a CSV file.")],
    dest: Annotated[str, typer.Argument(metavar="SET", help="A packed set, or the folder of its splits.")],
    layout: Annotated[str, _source(help="auto, imagefolder, places365, sun397 or csv.")] = "auto",
    split: Annotated[str, _source(help="train, val, test, or all there are.")] = "all",
    splits: Annotated[
        str | None,
        _source(
            metavar="SPLIT=FOLDER,...",
            help="Which folder or CSV file of FOLDER is which split; none: all folders are classes.",
            show_default="by their names",
        ),
    ] = None,
    nested: Annotated[
        Nested | None,
        _source(help="What of a folder in a folder is the class: path, first or last.", show_default="by their names"),
    ] = None,
    new_classes: Annotated[
        bool, _source("--new-classes", help="Take classes that SET does not have, behind those that it has.")
    ] = False,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates", help="Do not read SET and its other splits for images that are there: add them all."
        ),
    ] = False,
    shard_mb: Annotated[float, _shards(min=0.01, help="Size of a shard, in 10^6 bytes.")] = 48,
    quality: Annotated[int, _shards(min=1, max=100, help="JPEG quality of what is re-encoded.")] = 90,
    keep_metadata: Annotated[
        bool, _shards("--keep-metadata", help="Leave EXIF, GPS and comments in pictures that are not re-encoded.")
    ] = False,
    seed: Annotated[int, _shards(help="Seed of the order of the new samples.")] = 0,
    coordinates: CoordinateTable = None,
    coordinates_from_exif: CoordinatesFromExif = False,
    processes: Processes = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Add on this cluster (its dashboard's address); the nodes must see FOLDER."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Add images to packed sets: new shards behind the old ones, which stay as they are.

    FOLDER is read as by `scenerec data pack`, and images are shrunk as those of SET were; of its classes, only some
    need be there. SET is read once, and images that it has already, under whatever class, are left out and listed;
    those that another split beside it has are added, and listed. The manifest is replaced last: until then SET is what
    it was, and an addition that was stopped is continued by the same command. The larger set is another one: a run that
    began before cannot be resumed on it.

    Examples:

        scenerec data add new-photos/ s3://scenes/photos/train

        scenerec data add more/ packed/ --new-classes
    """
    use_store_environment()
    request = AddRequest(
        source=options.local_path("FOLDER", source),
        destination=options.location("SET", dest),
        layout=layout,
        split=split_of(split) or split,
        nested=nested,
        splits=parsed_splits(splits),
        new_classes=new_classes,
        duplicates=duplicates,
        coordinates=coordinates and options.local_path("--coordinates", coordinates),
        options=PackOptions(shard_mb, None, quality, seed, keep_metadata, coordinates_from_exif),
    )
    if address:
        told = run_on_cluster(ADD, request, address)["sets"]
        results = TypeAdapter(tuple[AddResult, ...]).validate_python(told)
    else:
        results = _add_here(request, processes)
    for result in results:
        _print_result(result)
    if as_json:
        print_json({"sets": results})


def _add_here(request: AddRequest, processes: int | None) -> tuple[AddResult, ...]:
    addition = Addition(request, lambda line: typer.echo(line, err=True))
    run = process_runner(processes or default_processes())
    try:
        if not request.duplicates:
            with ProgressBar("reading the set") as progress:
                addition.read_known(run, progress.show)
        with ProgressBar("adding") as progress:
            return addition.pack(run, progress.show)
    except KeyboardInterrupt:
        typer.echo("stopped, and SET is as it was: the same command goes on from there", err=True)
        raise typer.Exit(130) from None


def _print_result(result: AddResult) -> None:
    total = f"{result.samples} images of {result.classes} classes now: {result.url}"
    if result.added_before:
        typer.echo(f"{result.split}: these images were added before; {total}")
        return
    typer.echo(f"{result.split}: {result.added} images added in {result.shards} shards; {total}")
    if result.coordinates:
        typer.echo(f"  the coordinates of {result.coordinates} of these are known")
    if result.new_classes:
        typer.echo(f"  new classes: {', '.join(result.new_classes)}")
    left_out = {kind: count for kind, count in result.problems.items() if kind not in PACKED_ALL_THE_SAME}
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
        typer.echo(f"  left out: {kinds} (listed in {result.url}/{result.problems_key})")
    if leaked := result.problems.get("leaked"):
        where = f"listed in {result.url}/{result.problems_key}"
        typer.echo(f"  warning: {leaked} images stand in another split too ({where})", err=True)
    if result.empty_classes:
        typer.echo(f"  warning: there is no image of {', '.join(result.empty_classes)}", err=True)
    if result.added or result.new_classes:
        typer.echo("  it is another set now: a run that began before cannot be resumed on it")
