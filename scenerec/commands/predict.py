"""`scenerec predict`: what is on a photograph, by a bundle on this machine or by an endpoint."""

import asyncio
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenerec import client
from scenerec.commands import options
from scenerec.commands.endpoint import Outcome, ask_endpoint
from scenerec.commands.image_location import ImageLocation
from scenerec.commands.image_source import named_images, read_image
from scenerec.commands.named_bundle import open_named
from scenerec.commands.registry import DEFAULT_URL, RegistryUrl
from scenerec.errors import ConfigError, DataError, ScenerecError
from scenerec.inference.bulk.request import BATCH_SIZE
from scenerec.inference.bundles.bundle import Bundle
from scenerec.json_object import JsonObject

if TYPE_CHECKING:  # it imports onnxruntime
    from scenerec.inference.predictors.classifier import Guess

app = typer.Typer()

_endpoint, _coordinates, _bulk, _cluster = map(options.panel, ("Endpoint", "Coordinates", "Many images", "Cluster"))


@app.command(
    epilog="Example: scenerec predict holiday.jpg --model s3://scenes/runs/photos\n\n"
    "Example: scenerec predict holidays/ --model photos --endpoint http://localhost:8000 --json\n\n"
    "Example: scenerec predict holidays/ --model photos@production --output holidays.csv\n\n"
    "Example: scenerec predict s3://scenes/unsorted --model photos@production --output s3://scenes/answers --workers 16"
)
def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Files, folders of images, s3:// or https:// addresses; with --output also packed sets.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A run (its folder or name), a bundle (folder or s3://), or a model of the registry: NAME@production. "
            "With --endpoint its name there.",
        ),
    ],
    top_k: Annotated[int, typer.Option("--top", "-k", min=1, help="Classes to name for each image.")] = 5,
    registry: RegistryUrl = DEFAULT_URL,
    endpoint: Annotated[
        str | None, _endpoint(metavar="URL", help="Ask this endpoint, such as http://localhost:8000.")
    ] = None,
    api_key: Annotated[
        str | None, _endpoint(envvar="SCENEREC_API_KEY", metavar="KEY", help="Of the endpoint.", show_default=False)
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write each image there with the heat map of its first class over it; of a multi-label model one for "
            "each label that it gives.",
        ),
    ] = None,
    latitude: Annotated[
        str | None, _coordinates(metavar="DEGREES", help="Where they were taken: degrees north.", show_default=False)
    ] = None,
    longitude: Annotated[str | None, _coordinates(metavar="DEGREES", help="Degrees east.", show_default=False)] = None,
    time: Annotated[
        str | None, _coordinates(metavar="DATE", help="When: an ISO date, such as 2024-06-21.", show_default=False)
    ] = None,
    coordinates_from_exif: Annotated[
        bool,
        _coordinates("--coordinates-from-exif", help="Where and when, as each image's EXIF says it, if it does."),
    ] = False,
    output: Annotated[
        str | None,
        _bulk(
            "--output",
            "-o",
            metavar="URL",
            help="Write the answers to this file (.parquet, .csv or .jsonl), or part by part into this folder; local "
            "or s3://. Images may then be s3:// prefixes and packed sets, too.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str | None,
        _bulk("--format", metavar="FORMAT", help="Of a folder's files: parquet, csv or jsonl.", show_default="parquet"),
    ] = None,
    batch_size: Annotated[int, _bulk(min=1, help="Images that the network is given at once.")] = BATCH_SIZE,
    images_per_part: Annotated[
        int | None,
        _bulk(
            min=1,
            metavar="N",
            help="Images that are written at once; of a packed set it is a shard.",
            show_default="128 to 1024, by how many there are",
        ),
    ] = None,
    embeddings: Annotated[
        bool, _bulk("--embeddings", help="Also what the classifying layer is given of each image, as a list.")
    ] = False,
    threads: Annotated[int, _bulk(min=0, help="Cores to use; 0: all. With --workers: of each, 0 is 1.")] = 0,
    overwrite: Annotated[bool, _bulk("--overwrite", help="Delete other answers that are at --output.")] = False,
    keep_listing: Annotated[
        bool, _bulk("--keep-listing", help="Go on with the images that were listed, though others have come.")
    ] = False,
    workers: Annotated[int, _cluster(min=0, metavar="N", help="Answer in N processes of a cluster.")] = 0,
    address: options.Address = None,
    as_json: options.Json = False,
) -> None:
    """Name the scene on photographs, with a bundle on this machine or by an endpoint.

    A run that has no bundle yet is exported first, into RUN/bundles/fp32.
    A model that reads coordinates is told those that are given, and answers without as well. One that was exported with
    --abstain-precision says of which images it is not sure enough. A model that gives embeddings, such as a
    pretraining's, tells these with --json, and writes them with --output. An image that cannot be read is named on
    standard error, and the others go on; the exit code is then 4.

    With --output, images are answered in batches on all cores, or by a job of the cluster, into a table: image, label,
    probability, and those of the --top classes. What was stopped goes on by the same command, without a gap or a
    repeat. Images that cannot be read are listed in a file beside.
    """
    location = ImageLocation.typed(latitude, longitude, time, coordinates_from_exif)
    if output is not None:
        _check_bulk(endpoint, explain)
        from scenerec.commands.bulk import BulkOptions, predict_in_bulk  # the cluster's client and onnxruntime

        typed = BulkOptions(
            output, form, batch_size, images_per_part, threads, embeddings, workers, address, overwrite, keep_listing
        )
        predict_in_bulk(images, model, registry, top_k, location, typed, as_json)
        return
    alone = {"workers": workers, "format": form, "overwrite": overwrite, "keep-listing": keep_listing}
    if option := next((name for name, given in {**alone, "embeddings": embeddings}.items() if given), None):
        raise ConfigError(f"--{option}: is for answers that are written: give --output as well")
    if endpoint:
        if explain:
            raise ConfigError("--explain: is for a bundle on this machine: leave --endpoint out")
        _predict_by(endpoint, api_key, model, list(named_images(images)), top_k, location, as_json)
    else:
        bundle = open_named("--model", model, registry)
        location.check(bundle)
        if bundle.info.task == "embedding":
            _embed_here(bundle, named_images(images), explain, as_json)
        else:
            _predict_here(bundle, named_images(images), top_k, explain, location, as_json)


def _check_bulk(endpoint: str | None, explain: Path | None) -> None:
    if endpoint or explain:
        option = "--endpoint" if endpoint else "--explain"
        raise ConfigError(f"{option}: answers what is printed: leave it out, or leave --output out")


def _predict_here(
    bundle: Bundle, images: Iterator[str], top_k: int, explain: Path | None, location: ImageLocation, as_json: bool
) -> None:
    from scenerec.inference.predictors.classifier import Classifier  # onnxruntime: not for those who ask an endpoint

    classifier = Classifier(bundle)
    heat_maps = None
    if explain:
        from scenerec.commands.heat_maps import HeatMaps  # onnx

        heat_maps = HeatMaps(bundle, classifier, explain)
    failed = 0
    for image in images:
        try:
            content = read_image(image)
            (probabilities,) = classifier.probabilities([content], location.array(image, content))
            guesses = classifier.rank(probabilities, top_k)
            given = classifier.given_labels(probabilities)
            if heat_maps:
                for guess in given or guesses[:1]:
                    heat_maps.write(image, content, guess.label, tells_label=given is not None)
        except ScenerecError as error:
            failed += 1
            _complain(image, error)
            continue
        place = bundle.info.places.get(guesses[0].label)
        further = place.model_dump(mode="json", exclude_defaults=True) if place else {}
        if bundle.info.abstain_below is not None:
            further["abstained"] = classifier.abstains(guesses)
        _print(image, guesses, as_json, further, given)
    if failed:
        raise typer.Exit(DataError.exit_code)


def _embed_here(bundle: Bundle, images: Iterator[str], explain: Path | None, as_json: bool) -> None:
    if explain:
        raise ConfigError(f"--explain: shows where a class is seen, and {bundle.url} gives embeddings: leave it out")
    from scenerec.inference.predictors.classifier import Classifier

    classifier, failed = Classifier(bundle), 0
    for image in images:
        try:
            (embedding,) = classifier.embeddings([read_image(image)])
        except ScenerecError as error:
            failed += 1
            _complain(image, error)
            continue
        _print_embedding(image, embedding.tolist(), as_json, {})
    if failed:
        raise typer.Exit(DataError.exit_code)


def _predict_by(
    url: str,
    api_key: str | None,
    model: str,
    images: list[str],
    top_k: int,
    location: ImageLocation,
    as_json: bool,
) -> None:
    failed = 0

    def tell(image: str, outcome: Outcome) -> None:
        nonlocal failed
        if isinstance(outcome, ScenerecError):
            failed += 1
            _complain(image, outcome)
            return
        answered = {"model": outcome.model, "version": outcome.version, "request_id": outcome.request_id}
        if outcome.embedding is not None:
            _print_embedding(image, outcome.embedding, as_json, answered)
            return
        further = {
            **answered,
            **({"indoor_outdoor": outcome.indoor_outdoor} if outcome.indoor_outdoor else {}),
            **({"category": list(outcome.category)} if outcome.category else {}),
            **({"abstained": outcome.abstained} if outcome.abstained is not None else {}),
        }
        _print(image, outcome.classes, as_json, further, outcome.given_labels)

    asyncio.run(ask_endpoint(url, api_key, model, images, top_k, read_image, tell, location.of_request))
    if failed:
        raise typer.Exit(DataError.exit_code)


def _print_embedding(image: str, embedding: Sequence[float], as_json: bool, further: JsonObject) -> None:
    if as_json:
        print(json.dumps({"image": image, "embedding": list(embedding), **further}), flush=True)
    else:
        print(
            f"{image}: {len(embedding)} numbers, of length {math.hypot(*embedding):.3f} (--json tells them)", flush=True
        )


def _complain(image: str, error: Exception) -> None:
    # Not by typer.echo, which would write into a progress bar: print writes above it.
    print(f"error: {image}: {error}", file=sys.stderr, flush=True)


def _print(
    image: str,
    guesses: "Sequence[Guess | client.Guess]",
    as_json: bool,
    further: JsonObject,
    given_labels: "Sequence[Guess | client.Guess] | None",
) -> None:
    """`further`: keys beside the classes, among them the first class's `indoor_outdoor` and `category` if known.

    And `abstained`, where the model is not sure enough of the first class. `given_labels`: of a multi-label model.
    """
    if as_json:
        given = {} if given_labels is None else {"given_labels": _listed(given_labels)}
        print(json.dumps({"image": image, "predictions": _listed(guesses), **given, **further}), flush=True)
        return
    named = _named(guesses if given_labels is None else given_labels)
    if given_labels is not None and not named:
        named = f"no label (nearest: {_named(guesses[:1])})"
    place = "; ".join(filter(None, (further.get("indoor_outdoor"), *further.get("category", ()))))
    unsure = "not sure enough: " if further.get("abstained") else ""
    print(f"{image}: {unsure}{named}{f' ({place})' if place else ''}", flush=True)


def _listed(guesses: "Sequence[Guess | client.Guess]") -> list[JsonObject]:
    return [{"label": guess.label, "probability": guess.probability} for guess in guesses]


def _named(guesses: "Sequence[Guess | client.Guess]") -> str:
    return ", ".join(f"{guess.label} {guess.probability:.1%}" for guess in guesses)
