"""`scenerec data check`: which pictures of a data set somebody should look at."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cluster.environment import use_store_environment
from scenerec.commands import options
from scenerec.commands.data.pack import parsed_splits
from scenerec.commands.data.packed import Processes
from scenerec.commands.registry import DEFAULT_URL, RegistryUrl
from scenerec.commands.results import result_file, write_result
from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.commands.screen.quiet import quiet_frameworks
from scenerec.data.manifest import MANIFEST_KEY
from scenerec.data.packing.choices import Choices
from scenerec.data.packing.nesting import Nested
from scenerec.data.pool import default_processes, process_runner
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.findings import Finding, Findings, judge, shows_something
from scenerec.data.quality.labels import mislabelled
from scenerec.data.quality.report import page, shown, table
from scenerec.data.quality.similar import similar
from scenerec.data.quality.sources import (
    Part,
    folder_parts,
    packed_parts,
    read_facts,
    read_pictures,
)
from scenerec.data.splits import SPLITS
from scenerec.errors import ConfigError
from scenerec.inference.bundles.registry import Registry
from scenerec.inference.onlooker import Onlooker, open_onlooker
from scenerec.inference.opinions import opinions
from scenerec.storage import open_storage

app = typer.Typer()

_labels = options.panel("Labels")

_SHOWN = 10


@app.command()
def check(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder of images as `data pack` takes it, or a packed set.")
    ],
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page with the pictures.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a table, for `data pack --exclude`.", show_default=False),
    ] = None,
    splits: Annotated[
        str | None, typer.Option(metavar="SPLIT=FOLDER,...", help="As of `data pack`.", show_default=False)
    ] = None,
    nested: Annotated[Nested | None, typer.Option(help="As of `data pack`.", show_default=False)] = None,
    labels: Annotated[bool, _labels("--labels/--no-labels", help="Look for labels that are likely wrong.")] = True,
    model: Annotated[
        str | None,
        _labels(
            metavar="MODEL",
            help="Have them judged by this model, where it has not trained on the pictures: a run, a checkpoint, a "
            "bundle, a .tflite file, or a model of the registry, such as photos@production. A bundle also finds "
            "pictures that look nearly the same.",
            show_default="by colours and textures",
        ),
    ] = None,
    registry: RegistryUrl = DEFAULT_URL,
    processes: Processes = None,
    as_json: options.Json = False,
) -> None:
    """Check the pictures of a data set: duplicates, labels that are likely wrong, blank, dark, blurred and tiny ones.

    Pictures that look alike count as duplicates, whatever their size and encoding: in training and in evaluation
    (leaked), under two classes (conflict), or in one class. A label is doubted where somebody who has not learned from
    it takes the picture for another class: classifiers upon colours and textures, each of which is shown nine tenths
    of the pictures and asked for the rest, or a model of yours. Nothing is changed; take rows out of the table that are
    as they should be, and give it to `scenerec data pack --exclude` and `--relabel`.

    Examples:

        scenerec data check photos/ --report check.html --csv check.csv

        scenerec data check s3://scenes/photos --model s3://scenes/runs/photos --report check.html
    """
    written = result_file("--report", report), result_file("--csv", csv)
    use_store_environment()
    where = options.location("DATA", data)
    parts = _parts(where, Choices(splits=parsed_splits(splits), nested=nested))
    if model and not labels:
        raise ConfigError("--model: judges labels: leave --no-labels out")
    onlooker = _onlooker(model, registry, parts) if model else None
    with ProgressBar("looking") as progress:
        run = process_runner(processes or default_processes())
        facts = read_facts(parts, run, progress.show, with_features=labels)
    found, remarks = _doubted(facts, parts, onlooker) if labels else ([], [])
    findings = judge(facts, found, remarks)
    if written[0]:
        paths = [path for some in shown(findings).values() for each in some for path in each.pictures]
        write_result(written[0], page(where, findings, read_pictures(parts, paths)))
    if written[1]:
        write_result(written[1], table(findings))
    if as_json:
        typer.echo(json.dumps(_json(findings)))
    else:
        _show(findings, *written)


def _parts(where: str, choices: Choices) -> list[Part]:
    """What is read. Raises DataError for what is no data set, ConfigError for options that a packed one has not."""
    storage = open_storage(where)
    keys = (MANIFEST_KEY, *(f"{split}/{MANIFEST_KEY}" for split in SPLITS))
    is_packed = "://" in where or any(storage.size(key) is not None for key in keys)
    if not is_packed:
        return [*folder_parts(options.local_path("DATA", Path(where)), choices)]
    if choices != Choices():
        raise ConfigError(f"{where}: is packed, its splits and classes are known: leave --splits and --nested out")
    return [*packed_parts(where)]


def _onlooker(model: str, registry: str, parts: Sequence[Part]) -> Onlooker:
    """The model that was named, before this data set. Raises ConfigError where it may judge nothing of it."""
    if "/" in model or Path(model).exists():
        target = options.location("--model", model)
    else:
        target = Registry(options.location("--registry", registry)).resolve(model).url
    classes = frozenset[str]().union(*(part.classes for part in parts))
    fingerprints = {split: own for part in parts for split, own in part.fingerprints.items()}
    with quiet_frameworks():
        return open_onlooker(target, classes, fingerprints)


def _doubted(
    pictures: Sequence[PictureFacts], parts: Sequence[Part], onlooker: Onlooker | None
) -> tuple[list[Finding], list[str]]:
    """The pictures whose labels are doubted, and those that a model hardly tells apart; and by whom, in words."""
    plain = sorted(filter(shows_something, pictures), key=lambda each: (each.split, each.path))
    sight = None
    if onlooker:
        shown = [each for each in plain if onlooker.gives_embeddings or each.split not in onlooker.seen]
        with quiet_frameworks() as terminal, ProgressBar("asking the model", stream=terminal) as progress:
            sight = onlooker.sight(parts, shown, progress.show) if shown else None
    found, remarks = opinions(plain, onlooker, sight)
    near = similar(sight.pictures, sight.embeddings) if sight and sight.embeddings is not None else []
    remarks += onlooker.remarks if onlooker else []
    return [*(each for opinion in found for each in mislabelled(opinion)), *near], [*map(str, found), *remarks]


def _show(findings: Findings, report: Path | None, csv: Path | None) -> None:
    for kind, count in findings.counts.items():
        typer.echo(f"{kind}: {count}")
        for each in [each for each in findings.found if each.kind is kind][:_SHOWN]:
            typer.echo(f"  {each.path}: {each.detail}")
        if count > _SHOWN:
            typer.echo(f"  ... and {count - _SHOWN} more")
    if findings.few:
        typer.echo(f"few images: {', '.join(f'{name} {count}' for name, count in findings.few.items())}")
    for remark in findings.remarks:
        typer.echo(remark)
    typer.echo(f"{findings.pictures} pictures, {len(findings.found)} to look at")
    for what, file in (("report", report), ("table", csv)):
        if file:
            typer.echo(f"{what}: {file}")


def _json(findings: Findings) -> dict[str, object]:
    return {
        "pictures": findings.pictures,
        "counts": findings.counts,
        "few": findings.few,
        "labels": findings.remarks,
        "findings": [_finding_json(each) for each in findings.found],
    }


def _finding_json(each: Finding) -> dict[str, object]:
    found: dict[str, object] = {
        "kind": each.kind,
        "path": each.path,
        "split": each.split,
        "class": each.class_name,
        "detail": each.detail,
        "twin": each.twin,
    }
    if each.likely:
        found |= {
            "likely_class": each.likely.class_name,
            "likely_probability": each.likely.probability,
            "label_probability": each.likely.label_probability,
        }
    return found
