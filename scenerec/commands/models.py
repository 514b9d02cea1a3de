"""`scenerec models`: what `model.arch` and `model.weights` can be."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scenerec.commands import options
from scenerec.json_object import JsonObject
from scenerec.models.status import Status, read_status
from scenerec.models.weights.licences import LICENCES, describe_licence, forbids_commercial_use
from scenerec.models.weights.published import best_weights, published_weights
from scenerec.models.zoo import ARCHITECTURES, TIMM, Architecture, architecture, more_of_timm

_WIDTH = 120
"""Columns that suffice for the longest name; a narrower terminal wraps the lines."""

app = typer.Typer(invoke_without_command=True, epilog="Example: scenerec models --json")

_LEGEND = """
GFLOPS: 1e9 multiply-adds for an image of 224 px. IMAGE: the side that suits it, in pixels.
TOP-1: of its best published weights on ImageNet, in percent. LICENCE: theirs.
TWIN, ONNX: how far the logits of the Keras twin and of the ONNX graph are from
torch's: the largest difference, over their scale; - where not checked.
All about one, with its pretrained weights: scenerec models show resnet50"""


@app.callback()
def models(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also timm's others, of which the twin alone was tried.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List the architectures, which train in either framework; `show` tells all about one."""
    if context.invoked_subcommand is not None:
        return
    known = read_status().items()
    found = [_description(architecture(name), status) for name, status in known if everything or name in ARCHITECTURES]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for timms in (False, True):
        _print_table([each for each in found if each["name"].startswith(TIMM) == timms])
    if not everything:
        typer.echo(f"\nand {len(more_of_timm())} more of timm's: scenerec models --all")
    typer.echo(_LEGEND)


@app.command(epilog="Example: scenerec models show resnet50")
def show(
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="Name of an architecture, such as resnet50.")],
    as_json: options.Json = False,
) -> None:
    """Tell all about an architecture: its size, its status, its pretrained weights, and how to use them."""
    entry = architecture(arch)
    description = _description(entry, read_status()[arch])
    weights = published_weights(arch)
    if as_json:
        listed = [
            {**asdict(each), "fits": each.fits, "commercial_use": not forbids_commercial_use(each.licence)}
            for each in weights
        ]
        typer.echo(json.dumps({**description, "weights": listed}))
        return
    for what, value in _rows(entry, description):
        typer.echo(f"{what:<12} {value}")
    figures = f"{'CLASSES':>7}  {'IMAGE':>5}  {'CROP':>5}  {'FILTER':<8}  {'TOP-1':>6}  {'TOP-5':>6}"
    typer.echo(f"\n{'WEIGHTS':<25} {figures}  {'LICENCE':<12}  URL")
    for each in weights:
        top1, top5 = ("" if figure is None else f"{figure:.2f}" for figure in (each.top1, each.top5))
        seen = f"{each.image_size:>5}  {each.eval_crop_ratio:>5.3g}  {each.interpolation:<8}"
        row = f"{each.name:<25} {each.classes:>7}  {seen}  {top1:>6}  {top5:>6}  {each.licence:<12}"
        typer.echo(f"{row}  {each.url}")
        if not each.preprocessing.is_imagenet:
            typer.echo(f"  ({each.preprocessing.words.partition(';')[0]})")
        if not each.fits:
            typer.echo(f"  (for images of {each.image_size} px, which {arch} does not take here)")
    for name in sorted({each.licence for each in weights}):
        typer.echo(f"\n{_terms(name)}")
    best = best_weights(arch)
    name, size = (best.name, best.image_size) if best else ("none", entry.image_size)
    warning = f"  # {describe_licence(best.licence)}" if best and forbids_commercial_use(best.licence) else ""
    licence = LICENCES.get(best.licence) if best else None
    accepting = "\n  accept_licence: true  # once you have read it" if licence and licence.asks_acceptance else ""
    typer.echo(f"\nmodel:\n  arch: {arch}\n  weights: {name}{warning}{accepting}\ndata:\n  image_size: {size}")


def _terms(licence: str) -> str:
    known = LICENCES.get(licence)
    if known is None:
        return f"{licence or 'No licence is told'}: not known here: read the terms where the weights are."
    asked = " Accept it with `scenerec submit --accept-licence`." if known.asks_acceptance else ""
    return f"{describe_licence(licence)}. {known.note}{asked}\n  {known.url}"


def _print_table(found: Sequence[JsonObject]) -> None:
    """Of one library: the names of the other are longer, and no name is cut off."""
    table = Table(box=None, pad_edge=False)
    table.add_column("ARCHITECTURE", no_wrap=True)
    for heading in ("PARAMS", "GFLOPS", "IMAGE", "TOP-1", "TWIN", "ONNX"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("LICENCE", no_wrap=True)
    for each in found:
        table.add_row(
            each["name"],
            f"{each['parameters'] / 1e6:.1f} M",
            f"{each['gflops_224']:.2f}",
            f"{each['image_size']} only" if each["fixed_image_size"] else str(each["image_size"]),
            "" if each["imagenet_top1"] is None else f"{each['imagenet_top1']:.1f}",
            *("-" if each[key] is None else f"{each[key]:.0e}" for key in ("twin_difference", "onnx_difference")),
            each["licence"],
        )
    Console(width=max(Console().width, _WIDTH)).print(table)


def _description(entry: Architecture, status: Status) -> JsonObject:
    """What is known of an architecture, as plain JSON values."""
    best = best_weights(entry.name)
    return {
        **asdict(entry),
        "gflops_224": entry.gflops_224 or entry.gflops,
        "imagenet_top1": best.top1 if best else None,
        "licence": best.licence if best else "",
        **asdict(status),
    }


def _rows(entry: Architecture, description: JsonObject) -> list[tuple[str, str]]:
    sizes = f"{entry.image_size} px only" if entry.fixed_image_size else "of any size"
    if entry.min_image_size > 1 and not entry.fixed_image_size:
        sizes = f"of at least {entry.min_image_size} px"
    if entry.image_size_step > 1:
        sizes += f", a multiple of {entry.image_size_step}"
    at_its_size = f", {entry.gflops:.2f} at {entry.image_size} px" if entry.gflops_224 else ""
    return [
        ("name", entry.name),
        ("parameters", f"{entry.parameters / 1e6:.1f} M at 1000 classes"),
        ("GFLOPs", f"{description['gflops_224']:.2f} at 224 px{at_its_size}"),
        ("images", sizes),
        ("head", entry.head),
        ("twin", _status(description["twin_difference"])),
        ("onnx", _status(description["onnx_difference"])),
    ]


def _status(difference: float | None) -> str:
    suffix = "" if difference is None else " from torch's logits, over their scale"
    return _difference(difference) + suffix


def _difference(difference: float | None) -> str:
    return "not checked" if difference is None else f"{difference:.0e}"
