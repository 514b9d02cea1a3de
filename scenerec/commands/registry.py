"""`scenerec registry`: models by version and alias."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.data.packed_set import open_set
from scenerec.errors import RegistryError
from scenerec.inference.bundles.bundle import Bundle, open_bundle, read_card
from scenerec.inference.bundles.info import BundleInfo
from scenerec.inference.bundles.registry import Alias as MovingAlias
from scenerec.inference.bundles.registry import Registry, Version, check_name, parse_reference
from scenerec.inference.evaluation.predictions import ImageBatch
from scenerec.inference.evaluation.promotion import Evidence, check_promotion
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.inference.predictors.predictor import Predictor
from scenerec.json_object import JsonObject
from scenerec.models.weights.licences import describe_licence
from scenerec.names import same_names
from scenerec.storage.writable import check_writable

app = typer.Typer()

REGISTRY_VARIABLE = "SCENEREC_REGISTRY"
"""Variable that names the registry."""
DEFAULT_URL = "s3://scenes/models"

RegistryUrl = Annotated[
    str,
    typer.Option(
        "--registry", envvar=REGISTRY_VARIABLE, metavar="URL", help="Where the registry is: s3:// or a folder."
    ),
]
Reference = Annotated[str, typer.Argument(metavar="MODEL", help="NAME (the newest), NAME:VERSION or NAME@ALIAS.")]
Alias = Annotated[str, typer.Argument(metavar="[ALIAS]", help="The alias.")]


@app.command(name="list", epilog="Example: scenerec registry list --json")
def list_models(registry: RegistryUrl = DEFAULT_URL, as_json: options.Json = False) -> None:
    """List the models, their versions and aliases."""
    opened = _open(registry)
    rows = [_summary(opened, model) for model in opened.models()]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        typer.echo(f"no models in {opened.url} yet: scenerec registry push BUNDLE")
        return
    width = max(len("MODEL"), *(len(row["model"]) for row in rows))
    typer.echo(f"{'MODEL':<{width}}  VERSIONS  ALIASES")
    for row in rows:
        aliases = ", ".join(f"{alias} -> {number}" for alias, number in row["aliases"].items()) or "-"
        typer.echo(f"{row['model']:<{width}}  {_ranges(row['versions']):<8}  {aliases}")


@app.command(
    epilog="Example: scenerec registry show places365-resnet50@production\n\n"
    "Example: scenerec registry show photos --card > MODEL_CARD.md"
)
def show(
    model: Reference,
    registry: RegistryUrl = DEFAULT_URL,
    card: Annotated[bool, typer.Option("--card", help="Show its model card, which is Markdown.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show one version: where it comes from, what was measured, and where its model's aliases stood."""
    opened = _open(registry)
    version = opened.resolve(model)
    if card:
        typer.echo(read_card(version.url))
        return
    aliases = opened.aliases(version.model)
    if as_json:
        document = {**_version(version), "bundle": version.info.model_dump(mode="json")}
        typer.echo(json.dumps({**document, "aliases": {alias.name: asdict(alias)["moves"] for alias in aliases}}))
        return
    info, lineage = version.info, version.info.lineage
    holders = ", ".join(alias.name for alias in aliases if alias.version == version.number)
    model_bytes = sum(file.size_bytes for file in info.files.values())
    for what, value in (
        ("model", f"{version.model}:{version.number}" + (f" ({holders})" if holders else "")),
        ("bundle", f"{version.url} ({model_bytes / 1e6:.1f} MB)"),
        ("network", f"{lineage.arch or '-'}, {info.precision} {info.format}, trained in {lineage.framework or '-'}"),
        ("labels", _labels(info)),
        ("input", f"{info.preprocessing.image_size} px, target {info.target}"),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in info.metrics.items()) or "-"),
        *_measured(info),
        ("source", f"{lineage.source}, by {lineage.route}, {lineage.exported_at}"),
    ):
        typer.echo(f"{what:<8} {value}")
    for alias in aliases:
        compared = "" if alias.baseline == alias.version else f"  (candidates are compared with {alias.baseline})"
        typer.echo(f"\n{alias.name}{compared}")
        for move in alias.moves:
            typer.echo(f"  {move.moved_at}  -> {move.version}  {move.reason}")


@app.command(epilog="Example: scenerec registry push s3://scenes/runs/photos/bundles/fp32 photos")
def push(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="What `scenerec export` wrote.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The model; by default the bundle's own.")
    ] = None,
    registry: RegistryUrl = DEFAULT_URL,
    as_json: options.Json = False,
) -> None:
    """Store a bundle as the next version of a model."""
    opened = _open(registry)
    verified = open_bundle(options.location("BUNDLE", bundle))
    version = opened.push(verified, name or verified.info.name)
    if as_json:
        typer.echo(json.dumps(_version(version)))
        return
    typer.echo(f"{version.model}:{version.number} at {version.url}")
    alias = "production" if version.info.can_be_served else version.info.format
    typer.echo(f"put it to use: scenerec registry promote {version.model}:{version.number} {alias}")


@app.command(epilog="Example: scenerec registry promote photos:3 production")
def promote(
    model: Reference,
    alias: Alias = "production",
    data: Annotated[
        str | None,
        typer.Option(metavar="SET", help="Validation set of the accuracy gate; by default the one of its training."),
    ] = None,
    max_top1_drop: Annotated[
        float, typer.Option(min=0, help="Points of top-1 that it may lose against the best version that stood there.")
    ] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Move the alias whatever the gates say.")] = False,
    registry: RegistryUrl = DEFAULT_URL,
    as_json: options.Json = False,
) -> None:
    """Move an alias to a version, if it passes the gates.

    The version must answer its golden images. On the validation set its top-1 must not
    be worse than that of the best version that stood at the alias, by more than chance
    (McNemar's exact test, p < 0.05) and by more than --max-top1-drop.
    """
    opened = _open(registry)
    version = opened.resolve(model)
    check_name(alias)
    present = opened.alias(version.model, alias)
    stands_at = present.version if present else None
    if stands_at == version.number:
        _say_moved(version.model, alias, stands_at, version.number, "it stood there already", as_json)
        return
    check_writable(opened.url)
    opened.check_serving(version, present)
    reason, baseline = "forced", version.number
    if not force:
        evidence, compared_with = _pass_gates(opened, version, present, data, max_top1_drop)
        reason = str(evidence)
        baseline = version.number if evidence.is_best else compared_with
    opened.move(version.model, alias, version.number, reason, stands_at, baseline)
    _say_moved(version.model, alias, stands_at, version.number, reason, as_json)


@app.command(epilog="Example: scenerec registry rollback photos production")
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME[@ALIAS]", help="The model.")],
    alias: Alias = "production",
    registry: RegistryUrl = DEFAULT_URL,
    as_json: options.Json = False,
) -> None:
    """Move an alias back to where it stood before; again, and it returns."""
    name, _, given = name.partition("@")
    alias = given or alias
    opened = _open(registry)
    opened.locate(f"{name}@{alias}")  # raises where there is no such model or alias
    present = opened.alias(name, alias)
    if present is None or present.previous is None:
        raise RegistryError(f"{name}@{alias} has stood at no other version: there is nothing to go back to")
    back_to = opened.version(name, present.previous).number
    opened.move(name, alias, back_to, f"rolled back from {present.version}", present.version)
    _say_moved(name, alias, present.version, back_to, "rolled back", as_json)


@app.command(epilog="Example: scenerec registry delete photos:2")
def delete(
    model: Annotated[str, typer.Argument(metavar="NAME:VERSION", help="The version.")],
    registry: RegistryUrl = DEFAULT_URL,
) -> None:
    """Delete a version that no alias stands at; its number is not used again."""
    name, _, number = parse_reference(model)
    if number is None:
        raise RegistryError(f"{model}: name the version that goes: {name}:VERSION")
    _open(registry).delete(name, number)
    typer.echo(f"{name}:{number} is deleted")


def _open(url: str) -> Registry:
    use_store_environment()
    return Registry(options.location("--registry", url))


def _pass_gates(
    registry: Registry, version: Version, alias: MovingAlias | None, data: str | None, max_top1_drop: float
) -> tuple[Evidence, int]:
    """The evidence, and the number of the version that it was compared with. Raises what the gates raise."""
    candidate, baseline = registry.open(version), None
    compared_with = version.number
    if alias:
        is_there = alias.baseline in registry.version_numbers(version.model)
        compared_with = alias.baseline if is_there else alias.version
        baseline = registry.open(registry.version(version.model, compared_with))

    def open_images(model: Predictor) -> Iterable[ImageBatch]:
        return _validation_images(candidate, data, model)

    return check_promotion(candidate, baseline, predictor_of, open_images, max_top1_drop), compared_with


def _validation_images(candidate: Bundle, data: str | None, model: Predictor) -> Iterable[ImageBatch]:
    # Imports the decoders, for which only a promotion that measures needs to wait.
    from scenerec.inference.evaluation.images import Preparation, image_batches

    url = data or candidate.info.lineage.config.get("data", {}).get("val")
    if url is None:
        raise RegistryError(f"{candidate.url}: does not say on what it was validated: name a packed set with --data")
    validation = open_set(url)
    if validation.manifest.is_multilabel != (candidate.info.task == "multilabel"):
        raise RegistryError(f"{url}: is not of the task {candidate.info.task}: name another set with --data")
    if not same_names(validation.manifest.classes, candidate.info.labels):
        raise RegistryError(f"{url}: its classes are not the labels of {candidate.url}: name another set with --data")
    preparation = Preparation.of(model)
    return image_batches(validation, range(validation.manifest.samples), preparation, batch_size=16)


def _summary(registry: Registry, model: str) -> JsonObject:
    aliases = {alias.name: alias.version for alias in registry.aliases(model)}
    return {"model": model, "versions": registry.version_numbers(model), "aliases": aliases}


def _version(version: Version) -> JsonObject:
    return {"model": version.model, "version": version.number, "url": version.url}


def _labels(info: BundleInfo) -> str:
    if info.task == "embedding":
        return f"none: it gives embeddings of {info.embedding_size} numbers"
    return f"{len(info.labels)}: {', '.join(info.labels[:4])}{', ...' if len(info.labels) > 4 else ''}"


def _measured(info: BundleInfo) -> list[tuple[str, str]]:
    """What was measured of the exported model itself, and the licence of its first weights."""
    rows, lineage = [], info.lineage
    if found := info.validation:
        rows = [
            (
                "measured",
                f"top-1 {found.top1:.2%} on {found.samples} images, temperature {found.scaled.temperature:.3f}: "
                f"calibration error {found.unscaled.calibration_error:.2%} -> {found.scaled.calibration_error:.2%}",
            )
        ]
        if rule := found.abstention:
            answers = f"answers {rule.coverage:.1%}, {rule.precision:.2%} of them rightly"
            rows.append(("abstains", f"below {rule.threshold:.4f}: {answers}"))
    if labelled := info.multilabel_validation:
        mean = "-" if labelled.map is None else f"{labelled.map:.2%}"
        rows.append(("measured", f"mAP {mean}, F1 {labelled.f1_micro:.2%} micro on {labelled.samples} images"))
    if lineage.licence:
        rows.append(("licence", f"{describe_licence(lineage.licence)} (of {lineage.first_weights})"))
    for name, licence in lineage.teachers.items():
        rows.append(("licence", f"{describe_licence(licence) or 'not known'} (of its teacher {name})"))
    return rows


def _ranges(numbers: list[int]) -> str:
    """[1, 2, 3, 5] -> "1-3, 5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _say_moved(model: str, alias: str, before: int | None, now: int, reason: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"model": model, "alias": alias, "from": before, "to": now, "reason": reason}))
        return
    came_from = f"{before} -> " if before is not None else ""
    typer.echo(f"{model}@{alias}: {came_from}{now}, {reason}")
