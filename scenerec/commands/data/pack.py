"""`scenerec data pack`: images become shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.connect import connect
from scenerec.commands.data.packed import CoordinatesFromExif, CoordinateTable, Processes, print_json
from scenerec.commands.kinds import PACK, JobKind
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.commands.send_job import job_name, run_job
from scenerec.data.finding_kinds import Kind
from scenerec.data.packing.choices import SourceRequest, parse_splits
from scenerec.data.packing.nesting import Nested
from scenerec.data.packing.pack import PackOptions, PackRequest, PackResult, SplitResult
from scenerec.data.packing.pack import pack as pack_source
from scenerec.data.packing.raw_set import PACKED_ALL_THE_SAME
from scenerec.data.pool import default_processes, process_runner
from scenerec.data.splits import split_of
from scenerec.errors import ConfigError
from scenerec.inference.predictors.trained_model import read_labels
from scenerec.json_object import JsonObject
from scenerec.names import printable

app = typer.Typer()

_source, _shards = map(options.panel, ("Source", "Shards"))


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="Folder of images, or a CSV file.")],
    dest: Annotated[str, typer.Argument(help="Where the shards go: a folder or s3://BUCKET/PREFIX.")],
    layout: Annotated[str, _source(help="auto, imagefolder, places365, sun397 or csv.")] = "auto",
    split: Annotated[str, _source(help="train, val, test, or all there are.")] = "all",
    shard_mb: Annotated[float, _shards(min=0.01, help="Size of a shard, in 10^6 bytes.")] = 48,
    short_side: Annotated[
        int | None, _shards(min=16, help="Shrink images to this short side, in pixels; never enlarges.")
    ] = None,
    quality: Annotated[int, _shards(min=1, max=100, help="JPEG quality of what is re-encoded.")] = 90,
    keep_metadata: Annotated[
        bool,
        _shards("--keep-metadata", help="Leave EXIF, GPS and comments in pictures that are not re-encoded."),
    ] = False,
    seed: Annotated[int, _shards(help="Seed of the order of the samples.")] = 0,
    splits: Annotated[
        str | None,
        _source(
            metavar="SPLIT=FOLDER,...",
            help="Which folder or CSV file of SOURCE is which split, such as train=seg_train,val=seg_test; none: "
            "all folders are classes.",
            show_default="by their names",
        ),
    ] = None,
    nested: Annotated[
        Nested | None,
        _source(
            help="What of a folder in a folder is the class: of market/indoor the path, of beach/2019 the first (an "
            "album in a class), of 2019/beach the last.",
            show_default="by their names",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        _source(
            metavar="FILE",
            help="The class names, one a line in order of class index.",
            show_default="in alphabetical order, or as the layout lists them",
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        _source(
            metavar="FILE.csv",
            help="Leave out the images of a table, by its column path, such as one of `data check`.",
            show_default=False,
        ),
    ] = None,
    division: Annotated[
        Path | None,
        _source(
            metavar="FILE.csv",
            help="Which images of a SOURCE without val are validated on: a table path,split, as `scenerec train` "
            "writes it.",
            show_default=False,
        ),
    ] = None,
    exclude_kinds: Annotated[
        str | None,
        _source(
            metavar="KIND,...",
            help="Of that table only these kinds, such as leaked,mislabelled.",
            show_default="all but mislabelled and similar",
        ),
    ] = None,
    relabel: Annotated[
        Path | None,
        _source(
            metavar="FILE.csv",
            help="Give the images of a table the class in its column likely_class, such as one of `data check`.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        _source("--strict", help="Refuse a picture that stands under two labels, or in train and in another split."),
    ] = False,
    partition: Annotated[int, _source(min=1, max=10, help="SUN397's partition.")] = 1,
    coordinates: CoordinateTable = None,
    coordinates_from_exif: CoordinatesFromExif = False,
    processes: Processes = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Pack on this cluster (its dashboard's address); the nodes must see SOURCE."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier pack left at DEST.")] = False,
    as_json: options.Json = False,
) -> None:
    """Pack images into WebDataset shards and a manifest.

    SOURCE is an ImageFolder (CLASS/IMAGE, or that below train/ and val/), the Places365 devkit, SUN397 or a CSV file
    (path,label and perhaps split,latitude,longitude,time). One split goes to DEST, several go to DEST/train, DEST/val.
    Splits are known by their names in any spelling (Train, validation, seg_test), and folders that only wrap others are
    passed through. What was understood is said first; what is ambiguous is refused, with the option that decides.
    JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and (with scenerec[heic]) HEIC files are taken, of several pictures the first.
    The pixels of plain JPEGs and PNGs stay as they are coded; what cameras write beside them, such as where and when
    they were taken, is not packed, unless --keep-metadata asks for it. Unreadable files and duplicates are left out,
    counted and listed in DEST/problems.jsonl. A pack that was stopped is continued by the same command.

    Whether a class is indoors or outdoors, and its categories, go into the manifest, from there into bundles, and so
    into answers: from Places365's IO_places365.txt and its scene hierarchy (the project's spreadsheet, exported as
    scene_hierarchy_places365.csv), from SUN397's (the sheet SUN397 of three_levels.xlsx, saved as three_levels.csv),
    and in any layout from a places.csv with the columns class,indoor_outdoor,category beside the folders of images:

        beach,outdoor,nature > water

    A category has any number of levels, with > or / between them. What has changed in these files since a set was
    packed comes into its manifest by the same command, and no image is packed again.

    Where and when images were taken is packed beside them if --coordinates or --coordinates-from-exif asks for it, for
    networks that learn from it (model.geo). The table has the columns file,latitude,longitude and perhaps time, an ISO
    date; a file is a path in SOURCE, or the end of one. Impossible rows are refused with their line.

    Examples:

        scenerec data pack photos/ packed/

        scenerec data pack intel/ packed/ --splits train=seg_train,val=seg_test

        scenerec data pack photos/ packed/ --exclude check.csv --relabel check.csv

        scenerec data pack places365/ s3://scenes/places365 --short-side 256 --processes 16

        scenerec data pack /shared/places365 s3://scenes/places365 --address http://HOST:8265
    """
    use_store_environment()
    request = PackRequest(
        source=options.local_path("SOURCE", source),
        destination=options.location("DEST", dest),
        layout=layout,
        split=split_of(split) or split,
        partition=partition,
        nested=nested,
        splits=parsed_splits(splits),
        classes=read_labels(options.location("--classes", classes)) if classes else (),
        strict=strict,
        exclude=exclude and options.local_path("--exclude", exclude),
        division=division and options.local_path("--division", division),
        exclude_kinds=_parsed_kinds(exclude_kinds, exclude),
        relabel=relabel and options.local_path("--relabel", relabel),
        coordinates=coordinates and options.local_path("--coordinates", coordinates),
        options=PackOptions(shard_mb, short_side, quality, seed, keep_metadata, coordinates_from_exif),
        overwrite=overwrite,
    )
    if address:
        result = TypeAdapter(PackResult).validate_python(run_on_cluster(PACK, request, address))
    else:
        result = pack_here(request, processes, lambda line: typer.echo(line, err=True))
    for split_result in result.splits:
        _print_packed(split_result)
    if result.images_per_s:
        typer.echo(f"{result.seconds:.1f} s, {result.images_per_s:.0f} images/s")
    if as_json:
        print_json(result)


def pack_here(request: PackRequest, processes: int | None, say: Callable[[str], None]) -> PackResult:
    """Packs on this machine, with a bar. Leaves at Ctrl-C with what goes on."""
    with ProgressBar("packing") as progress:
        try:
            run = process_runner(processes or default_processes())
            return pack_source(request, run, progress.show, say)
        except KeyboardInterrupt:
            where = f"at {progress.done} of {progress.total} images" if progress.total else "before the first image"
            typer.echo(f"stopped {where}: the same command goes on from there", err=True)
            raise typer.Exit(130) from None


def parsed_splits(text: str | None) -> dict[str, str] | None:
    """The option --splits as it was typed. Raises ConfigError."""
    try:
        return None if text is None else parse_splits(text)
    except ValueError as error:
        raise ConfigError(f"--splits: {error}") from None


def _parsed_kinds(text: str | None, table: Path | None) -> tuple[Kind, ...]:
    """The option --exclude-kinds as it was typed. Raises ConfigError."""
    if text is None:
        return ()
    if table is None:
        raise ConfigError("--exclude-kinds: says which rows of a table count: name it by --exclude")
    try:
        return tuple(Kind(part.strip()) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--exclude-kinds {text}: give some of {', '.join(Kind)}, with commas between") from None


def run_on_cluster(kind: JobKind, request: SourceRequest, address: str) -> JsonObject:
    """Has a job of the cluster at `address` do what is asked for, follows it, and returns the result that it prints."""
    if not str(request.source).isprintable():
        raise ConfigError(f"SOURCE {printable(str(request.source))}: rename it: a job is told its name as UTF-8 text")
    name = job_name(kind.name, request.destination)
    return run_job(connect(address), kind, name, request.model_dump_json(), run_url=request.destination)


def _print_packed(result: SplitResult) -> None:
    typer.echo(
        f"{result.split}: {result.samples} images of {result.classes} classes in {result.shards} shards, "
        f"{result.size_bytes / 1e6:.1f} MB: {result.url}"
        + (" (was complete already)" if result.complete_before else "")
    )
    if result.coordinates:
        rest = f", of the other {more} not" if (more := result.samples - result.coordinates) else ""
        typer.echo(f"  the coordinates of {result.coordinates} are known{rest}")
    if impossible := result.problems.get("coordinates"):
        where = f"listed in {result.url}/problems.jsonl"
        typer.echo(f"  warning: {impossible} images have impossible coordinates in their EXIF ({where})", err=True)
    if result.places:
        typer.echo(f"  indoors or outdoors, or categories, are known of {result.places} classes")
    if result.resumed_shards:
        typer.echo(f"  {result.resumed_shards} shards were there from an earlier run")
    if result.converted:
        formats = ", ".join(f"{count} {name}" for name, count in result.converted_formats.items()) or "of any format"
        typer.echo(f"  {result.converted} were re-encoded, as no plain 8-bit RGB or grey, or not upright: {formats}")
    if result.resized:
        typer.echo(f"  {result.resized} were shrunk")
    if result.stripped:
        typer.echo(f"  metadata (EXIF, GPS, comments) was taken out of {result.stripped}, their pixels are unchanged")
    left_out = {kind: count for kind, count in result.problems.items() if kind not in PACKED_ALL_THE_SAME}
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
        typer.echo(f"  left out: {kinds} (listed in {result.url}/problems.jsonl)")
    if leaked := result.problems.get("leaked"):
        typer.echo(f"  warning: {leaked} images stand in train too (listed in {result.url}/problems.jsonl)", err=True)
    if conflicts := result.problems.get("conflict"):
        typer.echo(f"  warning: {conflicts} images have two labels (listed in {result.url}/problems.jsonl)", err=True)
    if result.empty_classes:
        typer.echo(f"  warning: no image could be decoded of {', '.join(result.empty_classes)}", err=True)
