"""`scenerec data diff`: what two packed sets differ in."""

from collections import Counter
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.data.packed import Processes, print_json
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.data.diff import SampleChange, SamplePlace, SetDiff, SplitDiff, diff_sets
from scenerec.data.pool import default_processes, process_runner

app = typer.Typer()

_SHOWN = 10


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A packed set, or the folder of its splits.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    samples: Annotated[
        bool, typer.Option(help="Read the shards that are not in both sets, and compare their images.")
    ] = True,
    processes: Processes = None,
    as_json: options.Json = False,
) -> None:
    """Show what two packed sets differ in: classes, counts, options and samples.

    Exits with 0 where the sets are the same, and with 1 where they differ, as `diff` does. The manifests tell the
    classes, the counts and which shards are in both sets; only the others are read. --json lists every sample.

    Examples:

        scenerec data diff photos-may/ photos-june/

        scenerec data diff s3://scenes/places365/train s3://backup/places365/train --no-samples
    """
    use_store_environment()
    places = [options.location(name, typed) for name, typed in (("A", first), ("B", second))]
    with ProgressBar("reading") as progress:
        run = process_runner(processes or default_processes())
        found = diff_sets(places[0], places[1], samples=samples, run=run, on_progress=progress.show)
    _print_diff(found)
    if as_json:
        print_json(found)
    if not found.same:
        raise typer.Exit(1)


def _print_diff(found: SetDiff) -> None:
    typer.echo(f"A {found.first}\nB {found.second}")
    for split in found.splits_removed:
        typer.echo(f"{split}: in A only")
    for split in found.splits_added:
        typer.echo(f"{split}: in B only")
    for split, difference in found.splits.items():
        _print_split(split, difference)
    if found.same:
        typer.echo("the sets are the same: samples, order and classes")
    elif found.samples is None:
        typer.echo("the sets differ; their images were not compared")
    elif not found.samples:
        typer.echo("the images and their classes are the same; what differs is the above, or the order of the samples")
    else:
        _print_samples(found.samples)


def _print_split(split: str, difference: SplitDiff) -> None:
    title = f"{split}: " if split else ""
    if difference.same:
        typer.echo(f"{title}the same, {difference.samples[0]} images; fingerprint {difference.fingerprints[0][:16]}")
        return
    typer.echo(
        f"{title}{_arrow(difference.samples)} images in {_arrow(difference.shards)} shards, "
        f"{difference.unread_shards} of which are the same"
    )
    for what, classes in (("added", difference.classes_added), ("removed", difference.classes_removed)):
        if classes:
            typer.echo(f"  classes {what}: {_few(classes)}")
    if difference.classes_reordered:
        typer.echo("  the classes are in another order")
    for name, (before, after) in difference.class_counts.items():
        typer.echo(f"  {name}: {before} -> {after} ({after - before:+})")
    if difference.coordinates[0] != difference.coordinates[1]:
        typer.echo(f"  coordinates are known of {_arrow(difference.coordinates)} images")
    if difference.places:
        typer.echo(f"  indoors or outdoors, or categories, differ of {_few(difference.places)}")
    for name, pair in difference.options.items():
        typer.echo(f"  {name}: {pair[0] or 'not noted'} -> {pair[1] or 'not noted'}")


def _print_samples(changes: tuple[SampleChange, ...]) -> None:
    counts = Counter(change.kind for change in changes)
    typer.echo("images: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for kind in (kind for kind in counts if kind != "renamed"):  # one picture less, and all after it have other names
        of_kind = [change for change in changes if change.kind == kind]
        for change in of_kind[:_SHOWN]:
            places = " -> ".join(_named(place) for place in (change.before, change.after) if place)
            typer.echo(f"  {kind} {places}")
        if len(of_kind) > _SHOWN:
            typer.echo(f"  {kind} ... {len(of_kind) - _SHOWN} more (--json lists them)")


def _named(place: SamplePlace) -> str:
    folder = f"{place.split}/" if place.split else ""
    return f"{folder}{place.shard}: {place.key} ({place.class_name})"


def _arrow(pair: tuple[int, int]) -> str:
    return f"{pair[0]} -> {pair[1]}" if pair[0] != pair[1] else str(pair[0])


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
