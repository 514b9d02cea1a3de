"""The heads of each method of pretraining: what its paper and its authors' program put upon a ResNet."""

from collections.abc import Mapping

from scenerec.config.pretrain import MethodConfig
from scenerec.models.heads import BatchNorm, Head, perceptron


def heads_of(method: MethodConfig, features: int) -> Mapping[str, Head]:
    """The heads upon `features`: the projector, and MoCo v3's predictor upon that.

    SimCLR's and MoCo v3's projectors end with BatchNorm (without scale and offset in MoCo v3); MoCo v2's has none.
    """
    size = method.embedding_size
    width = features if method.projector_width == "features" else method.projector_width
    widths = [features, *[width] * (method.projector_layers - 1), size]
    match method.method:
        case "simclr":
            return {"projector": perceptron(widths, batchnorm=True, last_batchnorm=BatchNorm(size))}
        case "mocov2":
            return {"projector": perceptron(widths, batchnorm=False)}
        case "mocov3":
            assert method.predictor_width is not None
            return {
                "projector": perceptron(widths, batchnorm=True, last_batchnorm=BatchNorm(size, affine=False)),
                "predictor": perceptron([size, method.predictor_width, size], batchnorm=True),
            }
