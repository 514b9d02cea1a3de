"""`scenerec data`: make, look at and check packed data sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenerec.commands import options

if TYPE_CHECKING:
    from scenerec.data.manifest import Manifest
    from scenerec.data.packing.pack import PackRequest, PackResult, SplitResult
    from scenerec.data.show import Description
    from scenerec.storage import Storage

app = typer.Typer(no_args_is_help=True, help="Make, look at and check packed data sets.", rich_markup_mode="markdown")

Processes = Annotated[int | None, typer.Option(min=1, help="Processes on this machine; by default one per core.")]
Location = Annotated[str, typer.Argument(metavar="DATA", help="A packed set: a folder or s3://BUCKET/PREFIX.")]


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="Folder of images, or a CSV file.")],
    dest: Annotated[str, typer.Argument(help="Where the shards go: a folder or s3://BUCKET/PREFIX.")],
    layout: Annotated[str, typer.Option(help="auto, imagefolder, places365, sun397 or csv.")] = "auto",
    split: Annotated[str, typer.Option(help="train, val, test, or all there are.")] = "all",
    shard_mb: Annotated[float, typer.Option(min=0.01, help="Size of a shard, in 10^6 bytes.")] = 48,
    short_side: Annotated[
        int | None, typer.Option(min=16, help="Shrink images to this short side, in pixels; never enlarges.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality of what is re-encoded.")] = 90,
    seed: Annotated[int, typer.Option(help="Seed of the order of the samples.")] = 0,
    partition: Annotated[int, typer.Option(min=1, max=10, help="SUN397's partition.")] = 1,
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
    (path,label and perhaps latitude,longitude,split). One split goes to DEST, several go to DEST/train, DEST/val.
    Plain JPEGs and PNGs are kept byte for byte. Unreadable files and duplicates are left out, counted and listed in
    DEST/problems.jsonl. A pack that was stopped is continued by the same command.

    Whether a class is indoors or outdoors, and its categories, go into the manifest, from there into bundles, and so
    into answers: from Places365's IO_places365.txt and its scene hierarchy (the project's spreadsheet, exported as
    scene_hierarchy_places365.csv), from SUN397's (the sheet SUN397 of three_levels.xlsx, saved as three_levels.csv),
    and in any layout from a places.csv with the columns class,indoor_outdoor,category beside the folders of images:

        beach,outdoor,nature > water

    A category has any number of levels, with > or / between them. What has changed in these files since a set was
    packed comes into its manifest by the same command, and no image is packed again.

    Examples:

        scenerec data pack photos/ packed/

        scenerec data pack places365/ s3://scenes/places365 --short-side 256 --processes 16

        scenerec data pack /shared/places365 s3://scenes/places365 --address http://HOST:8265
    """
    from scenerec.data.packing.pack import PackOptions, PackRequest

    request = PackRequest(
        source=source.expanduser().absolute(),
        destination=_location("DEST", dest),
        layout=layout,
        split=split,
        partition=partition,
        options=PackOptions(shard_mb=shard_mb, short_side=short_side, quality=quality, seed=seed),
        overwrite=overwrite,
    )
    result = _pack_on_cluster(request, address) if address else _pack_here(request, processes)
    for split_result in result.splits:
        _print_packed(split_result)
    if result.images_per_s:
        typer.echo(f"{result.seconds:.1f} s, {result.images_per_s:.0f} images/s")
    if as_json:
        _print_json(result)


def _pack_here(request: "PackRequest", processes: int | None) -> "PackResult":
    from scenerec.data.packing.pack import pack as pack_source
    from scenerec.data.pool import default_processes, process_runner

    with _ProgressBar("packing") as progress:
        try:
            return pack_source(request, process_runner(processes or default_processes()), progress.show)
        except KeyboardInterrupt:
            where = f"at {progress.done} of {progress.total} images" if progress.total else "before the first image"
            typer.echo(f"stopped {where}: the same command goes on from there", err=True)
            raise typer.Exit(130) from None


def _pack_on_cluster(request: "PackRequest", address: str) -> "PackResult":
    import re
    import tempfile

    from pydantic import TypeAdapter
    from rich.console import Console

    from cluster.address import find_address
    from cluster.client import ClusterClient
    from cluster.working_dir import fill_working_dir
    from scenerec import __version__
    from scenerec.commands.follow import exit_code
    from scenerec.commands.screen.live import tell
    from scenerec.data.packing.pack import PackResult

    client = ClusterClient(find_address(address))
    name = "pack-" + re.sub("[^A-Za-z0-9._-]", "-", request.destination.rpartition("/")[2])[:50]
    with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
        fill_working_dir(Path(folder), request.model_dump_json())
        metadata = {"scenerec": __version__, "kind": "pack", "framework": "-"}
        job_id = client.submit(
            name, request.destination, "python -m jobs.pack config.yaml", Path(folder), metadata, env={}
        )
    typer.echo(f"job {job_id}, dashboard {client.address.url}", err=True)
    where = f"{job_id}{client.address.option}"
    try:
        story = tell(client.follow(job_id), Console(stderr=True))
    except KeyboardInterrupt:
        typer.echo(f"{job_id} goes on. Follow it: scenerec logs -f {where}   Stop it: scenerec stop {where}", err=True)
        raise typer.Exit(130) from None
    if story.result is None:
        for message in story.errors or [f"{job_id} ended without a result"]:
            typer.echo(f"error: {message}", err=True)
        typer.echo(f"the whole log: scenerec logs --verbose {where}", err=True)
        raise typer.Exit(exit_code(client.job(job_id)))
    return TypeAdapter(PackResult).validate_python(story.result)


@app.command()
def show(
    data: Location,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw some images of each class.")] = None,
    per_class: Annotated[int, typer.Option(min=1, max=50, help="Images of each class on the sheet.")] = 6,
    as_json: options.Json = False,
) -> None:
    """Show what a packed set holds: classes, counts, sizes, and a sheet of its pictures.

    Examples:

        scenerec data show packed/train

        scenerec data show s3://scenes/places365/val --sheet val.png
    """
    from scenerec.data.show import contact_sheet, describe

    storage, manifest = _open(data)
    description = describe(storage, manifest)
    _print_description(description)
    if sheet:
        contact_sheet(storage, manifest, per_class).save(sheet, "PNG")
        typer.echo(f"Pictures: {sheet}")
    if as_json:
        _print_json(description)


@app.command()
def verify(
    data: Location,
    decode: Annotated[bool, typer.Option(help="Decode every image, not only checksums and counts.")] = True,
    processes: Processes = None,
    as_json: options.Json = False,
) -> None:
    """Check a packed set: checksums, counts, labels, and that every image decodes.

    Lists what is wrong, and then exits with 4.

    Examples:

        scenerec data verify packed/train

        scenerec data verify s3://scenes/places365/train --no-decode
    """
    from scenerec.data.integrity import check_set
    from scenerec.data.pool import default_processes, process_runner
    from scenerec.errors import DataError

    storage, manifest = _open(data)
    with _ProgressBar("verifying") as progress:
        run = process_runner(processes or default_processes())
        report = check_set(storage, manifest, decode=decode, run=run, on_progress=progress.show)
    for defect in report.defects:
        typer.echo(f"{defect.shard}{' ' if defect.sample else ''}{defect.sample}: {defect.problem}")
    if not report.defects:
        decoded = ", every image decodes" if decode else ""
        typer.echo(f"{report.url}: {report.samples} samples in {report.shards} shards are as packed{decoded}.")
    if as_json:
        _print_json(report)
    if report.defects:
        raise DataError(f"{report.url}: {len(report.defects)} problems in {report.shards} shards: pack the set again")


@app.command()
def synthetic(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    classes: Annotated[int, typer.Option(min=2, max=12, help="Kinds of scenes.")] = 6,
    train_per_class: Annotated[int, typer.Option(min=1, help="Training images of each.")] = 120,
    val_per_class: Annotated[int, typer.Option(min=1, help="Validation images of each.")] = 30,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the images, in pixels.")] = 96,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same bytes.")] = 0,
    as_json: options.Json = False,
) -> None:
    """Draw a small ImageFolder of scenes (beach, city, forest, ...) to try everything with, and its places.csv.

    Examples:

        scenerec data synthetic scenes/ --classes 8

        scenerec data pack scenes/ packed/
    """
    from scenerec.data.synthetic import draw_scenes

    with _ProgressBar("drawing") as progress:
        names = draw_scenes(folder.expanduser(), classes, train_per_class, val_per_class, size, seed, progress.show)
    typer.echo(f"{folder}: {progress.total} images of {', '.join(names)}.")
    if as_json:
        counts = {"train": classes * train_per_class, "val": classes * val_per_class}
        _print_json({"folder": str(folder), "classes": names, **counts})


class _ProgressBar:
    """A bar on stderr with images per second and the time that is left."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.title = title
        self.done = self.total = self.done_before = 0
        self.began_s = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} images/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    def __enter__(self) -> "_ProgressBar":
        self.bar.start()
        self.task = self.bar.add_task("listing", total=None, rate="-")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, done: int, total: int) -> None:
        """What is done at the first call, as by an earlier run, does not count as speed."""
        import time

        if not self.total:
            self.began_s, self.done_before = time.monotonic(), done
            self.bar.reset(self.task, total=total, completed=done, description=self.title)
        self.done, self.total = done, total
        rate = (done - self.done_before) / max(time.monotonic() - self.began_s, 1e-9)
        self.bar.update(self.task, completed=done, rate=f"{rate:.0f}")


def _location(name: str, location: str) -> str:
    from scenerec.config.location import expand_location
    from scenerec.errors import ConfigError

    try:
        return expand_location(location)
    except ValueError as error:
        raise ConfigError(f"{name} {location}: {error}") from None


def _open(location: str) -> "tuple[Storage, Manifest]":
    from scenerec.data.manifest import read_manifest
    from scenerec.storage import open_storage

    storage = open_storage(_location("DATA", location))
    return storage, read_manifest(storage)


def _print_packed(result: "SplitResult") -> None:
    typer.echo(
        f"{result.split}: {result.samples} images of {result.classes} classes in {result.shards} shards, "
        f"{result.size_bytes / 1e6:.1f} MB: {result.url}"
        + (" (was complete already)" if result.complete_before else "")
    )
    if result.places:
        typer.echo(f"  indoors or outdoors, or categories, are known of {result.places} classes")
    if result.resumed_shards:
        typer.echo(f"  {result.resumed_shards} shards were there from an earlier run")
    if result.converted:
        typer.echo(f"  {result.converted} were not plain 8-bit RGB or grey, or not upright: re-encoded")
    if result.resized:
        typer.echo(f"  {result.resized} were shrunk")
    left_out = {kind: count for kind, count in result.problems.items() if kind != "leaked"}
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
        typer.echo(f"  left out: {kinds} (listed in {result.url}/problems.jsonl)")
    if leaked := result.problems.get("leaked"):
        typer.echo(f"  warning: {leaked} images stand in train too (listed in {result.url}/problems.jsonl)", err=True)
    if result.empty_classes:
        typer.echo(f"  warning: no image could be decoded of {', '.join(result.empty_classes)}", err=True)


def _print_description(description: "Description") -> None:
    typer.echo(
        f"{description.url}: {description.samples} images of {len(description.class_counts)} classes in "
        f"{description.shards} shards, {description.size_bytes / 1e6:.1f} MB"
    )
    typer.echo(
        f"fingerprint {description.fingerprint[:16]}; "
        + ", ".join(f"{k} {v}" for k, v in description.source.items() if k != "plan")
    )
    classes = len(description.class_counts)
    typer.echo(f"indoors or outdoors, or categories, are known of {description.places} of {classes} classes")
    for name, unit in (("width", "px"), ("height", "px"), ("image_bytes", "bytes")):
        quantiles = ", ".join(f"{quantile} {value}" for quantile, value in getattr(description, name).items())
        typer.echo(f"{name} ({unit}, of {description.probed_images} images): {quantiles}")
    longest = max(map(len, description.class_counts))
    most = max(description.class_counts.values())
    for name, count in description.class_counts.items():
        typer.echo(f"  {name:<{longest}}  {count:>7}  {'#' * max(1, round(30 * count / most)) if count else ''}")


def _print_json(result: object) -> None:
    import json

    from pydantic import TypeAdapter

    typer.echo(json.dumps(TypeAdapter(type(result)).dump_python(result, mode="json")))
