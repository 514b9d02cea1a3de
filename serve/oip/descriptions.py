"""What the server, its models and their versions say of themselves, as the documents of the Open Inference Protocol v2.

HTTP sends them as they are. gRPC's messages are the same: their fields have the names of the documents' keys.

A model's metadata and configuration announce `images` and `probabilities`, or `embedding`, alone: tools that read them
send every input that they find, and NVIDIA's image clients want exactly one of each. Of the others the configuration's
parameters tell.
"""

from scenerec import __version__
from serve.loaded_version import LoadedVersion
from serve.metered import Metered
from serve.oip.documents import (
    V2AllStatisticsBody,
    V2ConfigBody,
    V2ConfiguredTensorBody,
    V2DurationBody,
    V2IndexedBody,
    V2InferStatisticsBody,
    V2ModelBody,
    V2ParameterBody,
    V2ServerBody,
    V2StatisticsBody,
    V2TensorMetadataBody,
)
from serve.oip.inference import COORDINATES, input_specs, output_specs
from serve.oip.tensors import TensorSpec, axes
from serve.shelf import Shelf

PLATFORM = "onnxruntime_onnx"
"""What Triton calls a model that onnxruntime runs."""
BACKEND = "onnxruntime"

SERVER = V2ServerBody(
    "scenerec", __version__, ("binary_tensor_data", "classification", "model_configuration", "statistics")
)
"""What the server is, and which of Triton's extensions it has."""


def describe_model(metered: Metered, model: str, number: str) -> V2ModelBody:
    """What a version takes and gives; without a number, the model's main version. Raises NotServedError."""
    version = main_version(metered.shelf, model, number)
    image, _ = input_specs(version)
    announced = output_specs(version)[0]
    return V2ModelBody(
        name=model,
        versions=(number,) if number else tuple(each.version.number for each in metered.shelf.weighted(model)),
        platform=PLATFORM,
        inputs=[_metadata(image)],
        outputs=[_metadata(announced)],
    )


def describe_config(metered: Metered, model: str, number: str) -> V2ConfigBody:
    """Triton's configuration of a version, or of the model's main one, as far as it has any. Raises NotServedError."""
    version = main_version(metered.shelf, model, number)
    image, file = input_specs(version)
    announced, *others = output_specs(version)
    further = {
        file.name: f"an input in place of {image.name}: {file.datatype} {axes(file.shape)}, encoded files",
        **{other.name: f"an output beside {announced.name}: {other.datatype} {axes(other.shape)}" for other in others},
    }
    if version.bundle.info.takes_coordinates:
        further[COORDINATES.name] = (
            f"an optional input beside it: {COORDINATES.datatype} {axes(COORDINATES.shape)}, degrees north, degrees "
            "east, share of the year; NaN where not known"
        )
    return V2ConfigBody(
        name=model,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=metered.limits.images,
        input=[V2ConfiguredTensorBody(image.name, "TYPE_UINT8", image.shape[1:], "FORMAT_NHWC")],
        output=[V2ConfiguredTensorBody(announced.name, "TYPE_FP32", announced.shape[1:])],
        parameters={name: V2ParameterBody(text) for name, text in further.items()},
    )


def describe_statistics(metered: Metered, model: str, number: str) -> V2AllStatisticsBody:
    """What a version was asked in this process; "" for all of a model, or of all models. Raises NotServedError."""
    if not model:
        versions = metered.shelf.versions()
    elif number:
        versions = [metered.shelf.pick(model, 0.0, number)]
    else:
        versions = [each.version for each in metered.shelf.weighted(model)]
    return V2AllStatisticsBody([_statistics(version) for version in versions])


def describe_index(metered: Metered) -> list[V2IndexedBody]:
    """All versions that are served."""
    return [V2IndexedBody(each.model, each.number, "READY", "") for each in metered.shelf.versions()]


def main_version(shelf: Shelf, model: str, number: str) -> LoadedVersion:
    """The version of this number; without one, that with the largest share of requests. Raises NotServedError."""
    if number:
        return shelf.pick(model, 0.0, number)
    return max(shelf.weighted(model), key=lambda each: each.weight).version


def _metadata(spec: TensorSpec) -> V2TensorMetadataBody:
    return V2TensorMetadataBody(spec.name, spec.datatype, spec.shape)


def _statistics(version: LoadedVersion) -> V2StatisticsBody:
    found = version.statistics

    def duration(count: int, seconds: float) -> V2DurationBody:
        return V2DurationBody(count, round(seconds * 1e9))

    return V2StatisticsBody(
        name=version.model,
        version=version.number,
        last_inference=round(found.last_at_s * 1e3),
        inference_count=found.images,
        execution_count=round(found.batches),
        inference_stats=V2InferStatisticsBody(
            success=duration(found.answered, found.answered_s),
            fail=duration(found.failed, found.failed_s),
            queue=duration(found.answered, found.queued_s),
            compute_input=duration(found.answered, found.prepared_s),
            compute_infer=duration(found.answered, found.inferred_s),
            compute_output=duration(found.answered, 0.0),
        ),
    )
