"""`scenerec data show`: what a packed set holds."""

import io
from pathlib import Path
from typing import Annotated

import typer

from scenerec.commands import options
from scenerec.commands.data.packed import Location, open_packed, print_json
from scenerec.commands.results import result_file, write_result
from scenerec.data.show import Description, contact_sheet, describe

app = typer.Typer()


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
    sheet = result_file("--sheet", sheet)
    storage, manifest = open_packed(data)
    description = describe(storage, manifest)
    _print_description(description)
    if sheet:
        picture = io.BytesIO()
        contact_sheet(storage, manifest, per_class).save(picture, "PNG")
        write_result(sheet, picture.getvalue())
        typer.echo(f"Pictures: {sheet}")
    if as_json:
        print_json(description)


def _print_description(description: Description) -> None:
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
    if description.coordinates:
        around = ""
        if bounds := description.bounds:
            latitudes, longitudes = (f"{bounds[a]} to {bounds[b]}" for a, b in (("south", "north"), ("west", "east")))
            around = f" (of {description.probed_images} images: latitude {latitudes}, longitude {longitudes})"
        typer.echo(f"coordinates are known of {description.coordinates} of {description.samples} images{around}")
    for name, unit in (("width", "px"), ("height", "px"), ("image_bytes", "bytes")):
        quantiles = ", ".join(f"{quantile} {value}" for quantile, value in getattr(description, name).items())
        typer.echo(f"{name} ({unit}, of {description.probed_images} images): {quantiles}")
    longest = max(map(len, description.class_counts))
    most = max(description.class_counts.values())
    for name, count in description.class_counts.items():
        typer.echo(f"  {name:<{longest}}  {count:>7}  {'#' * max(1, round(30 * count / most)) if count else ''}")
