"""What bundle.json says of an exported model."""

from datetime import UTC, datetime
from typing import Any

from scenerec import __version__
from scenerec.export.job import ExportJob
from scenerec.export.source import KerasNetwork, TorchNetwork
from scenerec.inference.bundles.info import BundleInfo, Lineage, ModelFormat, Route, TensorContract
from scenerec.inference.bundles.precision import Precision

Contracts = tuple[TensorContract, ...]
"""Inputs or outputs of a model."""


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
    return BundleInfo(
        name=source.name,
        format=model_format,
        precision=precision,
        target=job.options.target.name,
        labels=source.labels,
        places=source.places,
        preprocessing=source.preprocessing,
        inputs=inputs,
        outputs=outputs,
        opset=opset,
        metrics=source.metrics or {},
        quantization=quantization or {},
        lineage=Lineage(
            framework=source.framework,
            arch=None if isinstance(source.network, KerasNetwork | TorchNetwork) else source.network.arch,
            source=source.address,
            route=route,
            config=source.config or {},
            dataset_fingerprint=source.dataset_fingerprint,
            scenerec=__version__,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
