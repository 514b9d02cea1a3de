"""`scenerec export`: from a trained network to a bundle that onnxruntime runs."""

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import psutil
import typer
from rich.console import Console
from rich.table import Table

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.run_bundle import model_location
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.commands.screen.step_lines import StepLines
from scenerec.errors import ConfigError
from scenerec.export.conversion.child_process import ChildLimits
from scenerec.export.formats.table import FORMATS, find_format
from scenerec.export.options import Options
from scenerec.export.source import Source, Stated, keras_source, open_source, torch_source, with_plain_input
from scenerec.export.steps import Step, step
from scenerec.export.targets import TARGETS, find_target
from scenerec.inference.bundles.info import CardWords
from scenerec.inference.bundles.validation import Validation
from scenerec.inference.predictors.trained_model import read_labels
from scenerec.json_object import JsonObject
from scenerec.models.preprocessing import Interpolation
from scenerec.models.weights.licences import describe_licence
from scenerec.storage.writable import check_writable

if TYPE_CHECKING:  # they import torch and onnx
    from scenerec.export.exporter import Exported
    from scenerec.export.graphs.providers import Support

app = typer.Typer()

_bundle, _source, _quantization, _verification, _trust = map(
    options.panel, ("Bundle", "Source", "Quantization", "Verification", "Trust")
)

_MODULES_SHOWN = 3
_OPERATORS_SHOWN = 4


@app.command()
def export(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A run (its name, or its folder OUTPUT/NAME), a checkpoint, or a weight file of a zoo architecture "
            "(.safetensors, .pth, .keras); a path or s3://.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        _bundle(
            "--output",
            "-o",
            metavar="DEST",
            help="The bundle: a folder or s3://.",
            show_default="RUN/bundles/PRECISION",
        ),
    ] = None,
    checkpoint: Annotated[str, _source(help="Of a run: best, last or a name.")] = "best",
    embedding: Annotated[
        bool,
        _source("--embedding", help="Its features alone, without classes: what a pretraining's run gives in any case."),
    ] = False,
    keras: Annotated[
        Path | None, _source(metavar="PATH", help="Any .keras file or SavedModel.", show_default=False)
    ] = None,
    torch: Annotated[
        str | None,
        _source(
            metavar="MODULE:CALLABLE",
            help="Any torch.nn.Module: what this callable returns. Imports the module, and so runs its code.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str, _bundle(help=f"Where it will run: {', '.join(TARGETS)}.")] = "any",
    list_targets: Annotated[bool, _bundle("--list-targets", help="Show what each target picks, and why.")] = False,
    precision: Annotated[
        str | None,
        _bundle(
            metavar=options.either_of(FORMATS),
            callback=options.check_one_of(FORMATS),
            help="Arithmetic of the model. int8 finds the scales of activations on training images; int8-dynamic (for "
            "transformers) finds them at each call.",
            show_default="the target's",
        ),
    ] = None,
    max_top1_drop: Annotated[
        float,
        _quantization(
            min=0,
            max=100,
            help="Top-1 that int8 and TFLite may lose on the whole set, in points; of features, 100 times "
            "their cosine to fp32's.",
        ),
    ] = 0.5,
    calibration_data: Annotated[
        str | None,
        _quantization(metavar="SET", help="Packed set to calibrate int8 on.", show_default="the run's training set"),
    ] = None,
    calibration_images: Annotated[int, _quantization(min=1, help="How many of its images.")] = 256,
    thorough: Annotated[
        bool,
        _quantization(
            "--thorough", help="Try every form of int8 and take the best, not the first that passes by a wide margin."
        ),
    ] = False,
    route: Annotated[
        Literal["auto", "tf2onnx", "twin"],
        _bundle(help="How a TensorFlow network becomes ONNX; auto: by tf2onnx, else through its torch twin."),
    ] = "auto",
    opset: Annotated[int, _bundle(help="ONNX operator set.")] = 18,
    plain_input: Annotated[
        bool, _bundle("--plain-input", help="Take normalised float NCHW pixels, not uint8 images.")
    ] = False,
    data: Annotated[
        str | None,
        _verification(
            metavar="SET",
            help="Packed set to verify on, and for int8 to measure the accuracy on.",
            show_default="the run's validation set",
        ),
    ] = None,
    images: Annotated[int, _verification(min=1, help="How many of its images.")] = 64,
    labels: Annotated[
        str | None,
        _source(
            metavar="FILE",
            help="Class names, one a line in order of class index; or Places365's, SUN397's or another list of them.",
            show_default="those of the training set",
        ),
    ] = None,
    name: Annotated[str | None, _source(help="Of the model.", show_default="the run's")] = None,
    arch: Annotated[
        str | None, _source(help="Architecture of a weight file that does not tell.", show_default=False)
    ] = None,
    image_size: Annotated[
        int | None, _source(min=1, help="Side of the images in pixels.", show_default="as in training")
    ] = None,
    eval_crop_ratio: Annotated[
        float | None,
        _source(min=0.01, max=1, help="Share of the resized image that is kept.", show_default="as in training"),
    ] = None,
    mean: Annotated[
        str | None, _source(metavar="R,G,B", help="Of pixels in [0, 1].", show_default="the weights', else ImageNet's")
    ] = None,
    std: Annotated[
        str | None, _source(metavar="R,G,B", help="Of pixels in [0, 1].", show_default="the weights', else ImageNet's")
    ] = None,
    interpolation: Annotated[
        Interpolation | None, _source(help="Filter by which photographs are resized.", show_default="the weights'")
    ] = None,
    abstain_precision: Annotated[
        float | None,
        _trust(
            min=0.01,
            max=0.9999,
            metavar="SHARE",
            help="Withhold answers that are not sure enough, so that this share of the others is right, such as 0.95.",
            show_default="answer always",
        ),
    ] = None,
    validation_images: Annotated[
        int,
        _trust(
            min=0,
            help="How many validation images the finished model answers, for its temperature, --abstain-precision and "
            "the figures of its card; 0: none of these.",
        ),
    ] = 2000,
    intended_use: Annotated[str, _trust(metavar="TEXT", help="For the card: what the model is for.")] = "",
    limitations: Annotated[str, _trust(metavar="TEXT", help="For the card: where it fails, what it is not for.")] = "",
    licence: Annotated[
        str, _trust(metavar="NAME", help="For the card: under which licence it is handed on, such as Apache-2.0.")
    ] = "",
    hub_folder: Annotated[
        Path | None,
        _bundle(
            "--hub-folder",
            metavar="DIR",
            help="Also write the model in the layout of the Hugging Face hub: card, weights, ONNX, preprocessing.",
            show_default=False,
        ),
    ] = None,
    memory_gb: Annotated[float, _bundle(min=1, help="That tf2onnx may take, in GiB.")] = 4.0,
    check: Annotated[
        bool, _verification("--check", help="Show for each execution provider which nodes it takes.")
    ] = False,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Export a network to ONNX, verify it on real images, and pack it as a bundle.

    The bundle's graph takes uint8 RGB images (batch, height, width, 3),
    normalises them, and gives probabilities and logits. It is written only
    if onnxruntime answers as the framework does, at batch 1, 3 and 32.
    int8 and TFLite models are written only if they lose no more than
    --max-top1-drop on the validation set, int8 only if it is faster than
    fp32 on this machine: forms are tried until one passes by a wide margin.
    A run that averages its weights is exported with the averages, which are
    what it validated. Probabilities are calibrated on the validation set by
    a temperature, and the bundle's MODEL_CARD.md tells what it is worth.
    A pretraining, and with --embedding any network of the zoo, becomes a
    bundle whose only output is `embedding`: its features, as they are.

    Examples:

        scenerec export places365-resnet50

        scenerec export runs/photos --target cuda -o bundles/photos-cuda

        scenerec export runs/photos --precision int8 --thorough

        scenerec export photos-simclr

        scenerec export runs/photos --abstain-precision 0.95 --intended-use "Sorting holiday pictures."

        scenerec export runs/photos --precision int8 --hub-folder hub/photos --licence Apache-2.0

        scenerec export resnet50_places365.pth.tar --labels classes.txt --data packed/val -o bundles/places

        scenerec export --torch my_models:build --image-size 224 --labels classes.txt --data packed/val -o bundles/own
    """
    if list_targets:
        _print_targets(as_json)
        return
    if sum(each is not None for each in (source, keras, torch)) != 1:
        raise ConfigError(
            "name one SOURCE: a run, a checkpoint or a weight file, or --keras PATH, or --torch MODULE:CALLABLE"
        )
    chosen = find_target(target)
    wanted = find_format(precision or chosen.precision)
    use_store_environment()
    destination = options.location("--output", output) if output else None
    if destination:
        check_writable(destination)
    data = options.location("--data", data) if data else None
    calibration_data = options.location("--calibration-data", calibration_data) if calibration_data else None
    with quiet_frameworks(verbose) as terminal, StepLines(terminal) as lines:
        # Imports torch and onnx, for which --help and --list-targets need not wait; what they greet with is unheard.
        from scenerec.export import exporter

        stated = Stated(
            name=name,
            arch=arch,
            image_size=image_size,
            eval_crop_ratio=eval_crop_ratio,
            mean=_three("--mean", mean),
            std=_three("--std", std),
            interpolation=interpolation,
            labels=read_labels(options.location("--labels", labels)) if labels else (),
            embedding=embedding,
        )
        lines.say(Step("start-up", time.time() - psutil.Process().create_time()))
        with step("weights", lines.say):
            opened = _open(source, keras, torch, checkpoint, stated)
        if plain_input:
            opened = with_plain_input(opened)
        settings = Options(
            precision=wanted.name,
            target=chosen,
            route=route,
            opset=opset,
            data=data,
            images=images,
            limits=ChildLimits(memory_bytes=int(memory_gb * 2**30)),
            calibration_data=calibration_data,
            calibration_images=calibration_images,
            max_top1_drop=max_top1_drop,
            thorough=thorough,
            validation_images=validation_images,
            abstain_precision=abstain_precision,
            hub_folder=options.local_path("--hub-folder", hub_folder, "then") if hub_folder else None,
            card=CardWords(intended_use=intended_use, limitations=limitations, licence=licence),
        )

        print(f"{opened.name}: {opened.address}{', averaged weights' if opened.averaged else ''}", file=terminal)
        destination = destination or exporter.default_destination(opened, settings)
        exported = exporter.export(opened, destination, settings, lines.say)
        from scenerec.export.graphs.providers import support

        supported = support(exported.model) if exported.model else ()
    if as_json:
        providers = [{**asdict(each), "share": each.share} for each in supported]
        typer.echo(
            json.dumps({"url": exported.url, "info": exported.info.model_dump(mode="json"), "providers": providers})
        )
        return
    _print_exported(exported, hub_folder)
    if check:
        _print_support(supported)


def _open(source: str | None, keras: Path | None, torch: str | None, checkpoint: str, stated: Stated) -> Source:
    if keras is not None:
        return keras_source(options.local_path("--keras", keras), stated)
    if torch is not None:
        return torch_source(torch, stated)
    assert source is not None
    return open_source(model_location("SOURCE", source), checkpoint, stated)


def _three(option: str, values: str | None) -> tuple[float, float, float] | None:
    if values is None:
        return None
    try:
        red, green, blue = (float(value) for value in values.split(","))
    except ValueError:
        raise ConfigError(f"{option} {values}: must be three numbers, such as 0.5,0.5,0.5") from None
    if not all(map(math.isfinite, (red, green, blue))) or (option == "--std" and min(red, green, blue) <= 0):
        raise ConfigError(f"{option} {values}: must be finite, and a deviation above 0")
    return red, green, blue


def _print_exported(exported: "Exported", hub_folder: Path | None) -> None:
    info = exported.info
    size_mb = sum(file.size_bytes for name, file in info.files.items() if name.startswith("model")) / 1e6
    classes, image_size = len(info.labels), info.preprocessing.image_size
    gives = f"{info.embedding_size} features" if info.task == "embedding" else f"{classes} classes"
    typer.echo(f"bundle    {exported.url}")
    if hub_folder:
        typer.echo(f"hub       {hub_folder}")
    route = "torch (through the torch twin)" if info.lineage.route == "twin" else info.lineage.route
    typer.echo(
        f"model     {info.precision}, {size_mb:.1f} MB, {f'opset {info.opset}' if info.opset else 'TFLite'}, {gives}, "
        f"{image_size} px, by {route}"
    )
    if info.verification:
        typer.echo(f"verified  on {info.verification}")
    if info.validation:
        _print_validation(info.validation)
    if labelled := info.multilabel_validation:
        typer.echo(
            f"measured  mAP {_share(labelled.map)} on {labelled.samples} images; at a threshold for each label F1 "
            f"{labelled.f1_micro:.2%} micro, {labelled.f1_macro:.2%} macro; loss {labelled.loss:.4f}"
        )
    if taken := info.quantization.get("taken"):
        _print_quantization(taken, info.quantization["fp32"], info.quantization.get("not_tried", []))
    if info.takes_coordinates:
        typer.echo("reads     coordinates as well, by inputs that may be left out; verified with and without")
    if info.places:
        typer.echo(
            f"places    indoors or outdoors, or categories, are known of {len(info.places)} of {classes} classes"
        )
    if "val_top1" in info.metrics:
        typer.echo(f"trained   to top-1 {info.metrics['val_top1']:.2%}")
    if "val_map" in info.metrics:
        typer.echo(f"trained   to mAP {info.metrics['val_map']:.2%}")
    if "val_knn_top1" in info.metrics:
        typer.echo(f"trained   to top-1 {info.metrics['val_knn_top1']:.2%} of the nearest neighbours")
    if info.lineage.licence:
        typer.echo(f"licence   {describe_licence(info.lineage.licence)} (of {info.lineage.first_weights})")
    for name, licence in info.lineage.teachers.items():
        typer.echo(f"licence   {describe_licence(licence) or 'not known'} (of its teacher {name})")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _print_validation(found: Validation) -> None:
    before, after = found.unscaled, found.scaled
    typer.echo(
        f"measured  top-1 {found.top1:.2%} on {found.samples} images; at temperature {after.temperature:.3f} loss "
        f"{before.loss:.4f} -> {after.loss:.4f}, calibration error {before.calibration_error:.2%} -> "
        f"{after.calibration_error:.2%}"
    )
    if rule := found.abstention:
        typer.echo(
            f"abstains  below {rule.threshold:.4f}: answers {rule.coverage:.1%} of the images, {rule.precision:.2%} of "
            f"them rightly ({rule.wished_precision:.2%} wished)"
        )


def _print_quantization(taken: JsonObject, fp32: JsonObject, not_tried: list[str]) -> None:
    typer.echo(f"form      {taken['form']}")
    if not_tried:
        typer.echo(
            f"not tried {len(not_tried)} other forms, as this one passes by a wide margin (--thorough tries all)"
        )
    if "cosine" in taken:
        kept = f"cosine to fp32 {taken['cosine']:.5f} on {taken['images']} images, the same nearest one"
    else:
        name, key = ("mAP", "map") if "map" in taken else ("top-1", "top1")
        kept = f"{name} {taken[key]:.2%} (fp32 {fp32[key]:.2%}) on {taken['images']} images, agrees with fp32"
    typer.echo(
        f"accuracy  {kept} on {taken['agreement']:.1%}, {taken['size_bytes'] / 1e6:.1f} MB "
        f"(fp32 {fp32['size_bytes'] / 1e6:.1f} MB)"
    )
    for entry in taken["speed"]:
        typer.echo(
            f"speed     {entry['ratio']:.2f}x fp32 at batch {entry['batch_size']}, one thread of this machine: "
            f"{entry['base_ms']:.2f} ms -> {entry['ms']:.2f} ms"
        )


def _print_support(supported: tuple["Support", ...]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("PROVIDER", "TAKES", "FALLS BACK TO THE CPU", "NOTE"):
        table.add_column(heading)
    for each in supported:
        if not each.taken:
            table.add_row(each.provider, f"0 of {each.nodes}", "everything", each.note)
            continue
        shown = [_fall_back(left.operator, left.nodes, left.modules) for left in each.fall_back[:_OPERATORS_SHOWN]]
        if more := len(each.fall_back) - len(shown):
            shown.append(f"{more} more kinds (--json lists them)")
        table.add_row(each.provider, f"{each.taken} of {each.nodes}", "\n".join(shown) or "-", each.note)
    Console().print(table)


def _fall_back(operator: str, nodes: int, modules: tuple[str, ...]) -> str:
    named = [module for module in modules if module]
    if not named:
        return f"{operator} x{nodes}"
    more = ", ..." if len(named) > _MODULES_SHOWN else ""
    return f"{operator} x{nodes} ({', '.join(named[:_MODULES_SHOWN])}{more})"


def _print_targets(as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(target) for target in TARGETS.values()]))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("TARGET", "PRECISION", "BATCH", "WHY"):
        table.add_column(heading, no_wrap=heading != "WHY")
    for target in TARGETS.values():
        table.add_row(target.name, target.precision, str(target.batch or "any"), target.why)
    Console().print(table)
