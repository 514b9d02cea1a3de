"""A bundle proves itself: its model must give its golden images the logits that were written beside them."""

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.predictor import Predictor, logits_difference

TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.1, "int8-dynamic": 0.1}
"""Largest difference over the logits' scale, by precision: int8 kernels round otherwise on other processors."""


def golden_difference(predictor: Predictor, bundle: Bundle) -> float:
    """Largest difference of the golden images' logits over their scale (the largest magnitude); inf for no numbers."""
    return logits_difference(bundle.golden.logits, predictor.logits(bundle.golden.images))


def check_golden(predictor: Predictor, bundle: Bundle) -> float:
    """The difference. Raises BundleError where it is beyond the tolerance of the bundle's precision."""
    difference, allowed = golden_difference(predictor, bundle), TOLERANCES[bundle.info.precision]
    if difference > allowed:
        raise BundleError(
            f"{bundle.url}: does not answer its golden images: logits differ by {difference:.1e} of their scale, "
            f"{allowed:.0e} is allowed at {bundle.info.precision}: export it again, or serve it where it was made"
        )
    return difference
