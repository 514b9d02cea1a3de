"""What bundle.json says of an exported model."""

from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any

from scenerec import __version__
from scenerec.export.job import ExportJob
from scenerec.export.source import KerasNetwork, TorchNetwork
from scenerec.inference.bundles.info import BundleInfo, Lineage, ModelFormat, Route, TensorContract
from scenerec.inference.bundles.precision import Precision

Contracts = tuple[TensorContract, ...]
"""Inputs or outputs of a model."""


_LIBRARIES = {
    "torch": ("torch", "torchvision", "timm"),
    "tensorflow": ("tensorflow", "keras"),
    "onnx": ("onnx", "onnxruntime"),
    "tflite": ("ai-edge-litert",),
}


def describe(
    job: ExportJob,
    route: Route,
    inputs: Contracts,
    outputs: Contracts,
    precision: Precision,
    model_format: ModelFormat = "onnx",
    opset: int | None = None,
    quantization: dict[str, Any] | None = None,
) -> BundleInfo:
    """Describes a model of `job`'s source; its verification and files are added later.

    Args:
        job: the export.
        route: how the network was converted.
        inputs: of the model.
        outputs: of the model.
        precision: arithmetic of the model.
        model_format: what the model file is.
        opset: ONNX operator set of the model.
        quantization: how the model was quantised, and what the gates measured.
    """
    source = job.source
    published = source.origin.published if source.origin else None
    return BundleInfo(
        name=source.name,
        format=model_format,
        precision=precision,
        target=job.options.target.name,
        task=source.task,
        labels=source.labels,
        places=source.places,
        preprocessing=source.preprocessing,
        inputs=inputs,
        outputs=outputs,
        opset=opset,
        metrics=source.metrics or {},
        quantization=quantization or {},
        card=job.options.card,
        lineage=Lineage(
            framework=source.framework,
            arch=None if isinstance(source.network, KerasNetwork | TorchNetwork) else source.network.arch,
            source=source.address,
            route=route,
            config=source.config or {},
            dataset_fingerprint=source.dataset_fingerprint,
            class_samples=source.class_samples,
            first_weights=source.origin.weights if source.origin else "",
            licence=source.origin.licence if source.origin else "",
            published_top1=published.top1 if published else None,
            published_image_size=published.image_size if published else None,
            teachers=source.origin.teachers if source.origin else {},
            versions=_versions(source.framework, model_format),
            scenerec=__version__,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )


def _versions(*parts: str | None) -> dict[str, str]:
    """Of the libraries of a framework and of a kind of model file, as they are installed."""
    found = {}
    for name in chain.from_iterable(_LIBRARIES.get(part or "", ()) for part in parts):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
