"""The story of an export: a network is made into a model of the format asked for, which is packed as a bundle."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenerec.errors import ConfigError, DataError, StorageError, first_line
from scenerec.export.card import model_card
from scenerec.export.formats.table import find_format
from scenerec.export.hub_folder import check_hub_folder, write_hub_folder
from scenerec.export.job import ExportJob
from scenerec.export.options import Options
from scenerec.export.source import Source, check_labels, with_class_samples, with_places
from scenerec.export.steps import Say
from scenerec.export.targets import ANY
from scenerec.export.validation import check_abstention, validate
from scenerec.inference.bundles.bundle import CARD_FILE, GOLDEN_FILE, check_place, write_bundle
from scenerec.inference.bundles.info import BundleInfo
from scenerec.storage.writable import check_writable
from scenerec.training.mlflow_run import tell_bundle
from scenerec.training.run_folder import RunFolder

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Exported:
    """A bundle that was written."""

    url: str
    """Folder or s3:// prefix of the bundle."""
    info: BundleInfo
    """Content of bundle.json."""
    model: "ModelProto | None"
    """Graph of the model; None where it is no ONNX model."""


def export(source: Source, destination: str, options: Options, say: Say = lambda _: None) -> Exported:
    """Exports `source` to a bundle at `destination`, a folder or s3:// prefix.

    Nothing is written there unless the model answers as the network in its framework does; in int8 and for TFLite,
    unless the accuracy is about the same. `say` hears of the steps, of what was tried, and of what went otherwise than
    asked for.

    Raises:
        ConfigError: options that do not go together, or no images to verify on.
        ModelError: the network cannot be converted; the message names operators and modules.
        BundleError: the model does not pass its gates, or something else is at `destination`.
        DataError, StorageError: the images cannot be read, or the bundle not be written.
    """
    export_format = find_format(options.precision)
    check_writable(destination)
    check_place(destination)
    if options.hub_folder is not None:
        check_hub_folder(options.hub_folder, options, export_format)
    if source.task == "embedding":  # for which any images will do
        _check_embedding(source, options)
    else:
        for named in filter(None, (options.data, options.calibration_data)):
            check_labels(source, named)
        check_abstention(source, options)
    with tempfile.TemporaryDirectory(prefix="scenerec-export-") as folder:
        job = ExportJob(_with_places(source, options, say), destination, options, Path(folder), say)
        with job.step("libraries"):
            make = export_format.load()
        product = make(job)
        with job.step("validation"):
            product = validate(job, product)
        with job.step("bundle"):
            files: dict[str, bytes | Path] = {file.name: file for file in product.files}
            files[GOLDEN_FILE] = product.golden.to_bytes()
            files[CARD_FILE] = model_card(product.info, product.size_bytes).encode()
            info = write_bundle(destination, product.info, files)
        if options.hub_folder is not None:
            with job.step("hub folder"):
                write_hub_folder(options.hub_folder, job.source, product)
    if source.run_url and (source.config or {}).get("track", {}).get("mlflow"):
        _tell_mlflow(source.run_url, destination, options.precision, say)
    return Exported(destination, info, product.model)


def default_destination(source: Source, options: Options) -> str:
    """Returns the place beside the run: RUN/bundles/PRECISION, or RUN/bundles/TARGET-PRECISION.

    PRECISION is `embedding-PRECISION` where a run that names classes gives features alone. Raises ConfigError for a
    source that belongs to no run.
    """
    if source.run_url is None:
        raise ConfigError(f"{source.address}: is of no run: name the bundle's folder with -o DEST")
    prefix = "" if options.target is ANY else f"{options.target.name}-"
    if source.task == "embedding" and "pretrain" not in (source.config or {}):
        prefix += "embedding-"
    return f"{source.run_url}/bundles/{prefix}{options.precision}"


def _check_embedding(source: Source, options: Options) -> None:
    """Raises ConfigError for what is of models that name classes alone."""
    if options.precision.startswith("tflite"):
        raise ConfigError(f"{source.address}: gives embeddings, which are exported to ONNX alone: take no TFLite")
    named = {"--hub-folder": options.hub_folder, "--abstain-precision": options.abstain_precision}
    if option := next((option for option, value in named.items() if value is not None), None):
        raise ConfigError(f"{option}: is for models that name classes, and embeddings name none: leave it out")


def _tell_mlflow(run_url: str, bundle_url: str, precision: str, say: Say) -> None:
    """Notes the bundle at the run that MLflow shows. The bundle is there, whatever MLflow says."""
    try:
        tell_bundle(RunFolder(run_url), precision, bundle_url)
    except Exception as error:
        say(f"MLflow does not have the bundle's address: {first_line(error)}")


def _with_places(source: Source, options: Options, say: Say) -> Source:
    """With the places of the training set or, where there is none, of a set that is named; and with its class counts.

    No answer of the model depends on them, so that a set which is gone by now hinders no export.
    """
    where = source.training_set or options.calibration_data or options.data
    if where is None or source.task == "embedding":
        return source
    try:
        return with_class_samples(with_places(source, where))
    except (DataError, StorageError) as error:
        say(f"without images by class, indoors or outdoors, and categories of the labels: {error}")
        return source
