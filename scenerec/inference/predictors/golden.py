"""A bundle proves itself: its model must give its golden images the logits that were written beside them."""

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.precision import TOLERANCES
from scenerec.inference.predictors.predictor import Predictor, logits_difference


def check_golden(predictor: Predictor, bundle: Bundle) -> float:
    """Returns the largest difference of the golden images' logits over their scale; infinite where some are no numbers.

    Raises BundleError where the difference is beyond the tolerance of the bundle's precision.
    """
    golden = bundle.golden
    difference = logits_difference(golden.logits, predictor.logits(golden.images, golden.coordinates))
    allowed = TOLERANCES[bundle.info.precision].golden
    if difference > allowed:
        raise BundleError(
            f"{bundle.url}: does not answer its golden images: logits differ by {difference:.1e} of their scale, "
            f"{allowed:.0e} is allowed at {bundle.info.precision}: export it again, or serve it where it was made"
        )
    return difference
