"""The gate before a bundle is written: whether an exported model answers as the network that it was made from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scenerec.data.packed_set import open_set
from scenerec.errors import BundleError, ConfigError, DataError, StorageError
from scenerec.export.conversion.tf_onnx import SOFTMAX_REMOVED
from scenerec.export.options import IMAGES
from scenerec.export.reference import open_reference
from scenerec.export.source import Source, Stated, keras_source, open_source, torch_source
from scenerec.export.torch_samples import sample_images
from scenerec.inference.bundles.bundle import Bundle, Golden
from scenerec.inference.bundles.info import Verification
from scenerec.inference.bundles.precision import TOLERANCES, Precision
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.inference.predictors.predictor import (
    Predictor,
    agreement,
    cosine_similarities,
    logits_difference,
    softmax,
)

BATCH_SIZES = (1, 3, 32)
"""Sizes of the batches that a model is verified in."""

_GOLDEN_IMAGES = 8


def compare(
    reference: Predictor,
    model: Predictor,
    images: np.ndarray,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    probabilities: bool = False,
) -> Verification:
    """Measures how far `model` is from `reference` on uint8 images [n, image_size, image_size, 3].

    The model sees all images at each batch size: a batch axis that was fixed, or folded into another, shows there.
    Where the reference reads coordinates, it sees them once with some (`drawn_places`), and once without any. Where
    `probabilities`, the reference gives those, and the model's are compared with them.
    """
    pairs = []
    for places in (None, drawn_places(len(images))) if reference.takes_coordinates else (None,):
        expected = reference.logits(images, places)
        for size in batch_sizes:
            answer = _in_batches(model, images, places, size)
            pairs.append((expected, softmax(answer, 1.0) if probabilities else answer))
    found = Verification(
        images=len(images),
        batch_sizes=tuple(batch_sizes),
        max_difference=max(logits_difference(expected, answer) for expected, answer in pairs),
    )
    if model.task == "embedding":
        cosine = min(float(cosine_similarities(*pair).min()) for pair in pairs)
        return found.model_copy(update={"cosine": cosine})
    several = reference.task == "multilabel"
    return found.model_copy(update={"top1_agreement": min(agreement(*pair, several) for pair in pairs)})


def drawn_places(count: int) -> np.ndarray:
    """Places and times from all over the globe, always the same: float32 [count, 3], every fourth without a time.

    Those of the images themselves are nobody's business, and a bundle keeps what it was verified on.
    """
    places = np.random.default_rng(0).uniform((-90, -180, 0), (90, 180, 1), (count, 3)).astype(np.float32)
    places[3::4, 2] = np.nan
    return places


def golden_of(model: Predictor, images: np.ndarray) -> Golden:
    """Returns the first of the images, uint8 [n, image_size, image_size, 3], and the model's answers to them."""
    few = images[:_GOLDEN_IMAGES]
    places = None
    if model.takes_coordinates:
        places = drawn_places(len(few))
        places[1::2] = np.nan  # half of them without
    return Golden(few, model.logits(few, places), places)


def verification_images(source: Source, data: str | None, count: int) -> np.ndarray:
    """Decodes images of the packed set `data`, by default the run's validation set.

    They are uint8 [n, image_size, image_size, 3].

    Raises ConfigError where there is no such set, and what a set that was named raises.
    """
    where = data or source.validation_set
    if where is None:
        raise ConfigError(f"{source.address}: no images to verify on: name a packed set with --data")
    try:
        return sample_images(open_set(where), source.preprocessing, count).images
    except (DataError, StorageError) as error:
        if data:
            raise
        raise ConfigError(f"the run's validation set cannot be read ({error}): name another with --data") from None


def source_of(bundle: Bundle, address: str | None = None, import_path: str | None = None) -> Source:
    """Finds what a bundle was exported from, with its preprocessing; or what `address` or `import_path` name.

    A bundle that was exported from code names it, but does not get it run: only its opener can, by `import_path`.
    Raises ConfigError where neither is given for such a bundle, and as `open_source`, `torch_source`.
    """
    info, lineage = bundle.info, bundle.info.lineage
    prepared = info.preprocessing
    stated = Stated(
        name=info.name,
        image_size=prepared.image_size,
        eval_crop_ratio=prepared.eval_crop_ratio,
        mean=prepared.mean,
        std=prepared.std,
        interpolation=prepared.interpolation,
        labels=info.labels,
        embedding=info.task == "embedding",
    )
    if import_path is not None:
        return torch_source(import_path, stated)
    if address is None and lineage.arch is None:
        if lineage.route == "torch":
            raise ConfigError(
                f"{bundle.url}: was exported from code, which is run only if you say so: --torch {lineage.source} "
                "(or name a network with --against)"
            )
        return keras_source(Path(lineage.source), stated)
    return open_source(address or lineage.source, stated=replace(stated, arch=None if address else lineage.arch))


def verify_bundle(bundle: Bundle, source: Source, data: str | None = None, images: int = IMAGES) -> Verification:
    """Compares a bundle's answers with those of `source`'s network.

    Raises as `verification_images` and `open_reference` do.
    """
    model = predictor_of(bundle)
    softmax_removed = isinstance(model, OnnxPredictor) and SOFTMAX_REMOVED in model.metadata
    return compare(
        open_reference(source), model, verification_images(source, data, images), probabilities=softmax_removed
    )


def gate(name: str, verification: Verification, precision: Precision) -> None:
    """Raises BundleError, with the figures, unless `verification` is within the precision's tolerance."""
    allowed, cosine, agreement = TOLERANCES[precision], verification.cosine, verification.top1_agreement
    is_alike = cosine >= allowed.cosine if cosine is not None else (agreement or 0) >= allowed.agreement
    if verification.max_difference <= allowed.difference and is_alike:
        return
    if cosine is not None:
        what, alike = "features", f"the smallest cosine is {cosine:.6f} ({allowed.cosine:g} is needed)"
    else:
        what, alike = "logits", f"first labels agree on {agreement or 0:.1%} of {verification.images} images"
        alike += f" ({allowed.agreement:.0%} is needed)" if allowed.agreement else ""
    raise BundleError(
        f"{name}: answers otherwise than the network it was made from: {what} differ by "
        f"{verification.max_difference:.1e} of their scale ({allowed.difference:.0e} is allowed at {precision}), "
        + alike
    )


def _in_batches(model: Predictor, images: np.ndarray, places: np.ndarray | None, size: int) -> np.ndarray:
    cuts = [slice(first, first + size) for first in range(0, len(images), size)]
    return np.concatenate([model.logits(images[cut], None if places is None else places[cut]) for cut in cuts])
