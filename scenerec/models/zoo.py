"""The architectures a config can name: torchvision's ImageNet classifiers, as data, without torch."""

import difflib
from dataclasses import dataclass

from scenerec.errors import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of R, G and B in [0, 1] over ImageNet: what torchvision's weights expect."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of R, G and B in [0, 1] over ImageNet."""


class UnknownArchitectureError(ModelError):
    """A name that no architecture of the table has."""


class ImageSizeError(ModelError):
    """Images of a size that an architecture does not take."""


@dataclass(frozen=True)
class Architecture:
    """One classifier of torchvision.

    Attributes:
        name: torchvision's name of it, which is the config's `model.arch`.
        head: module path of its classifying layer; the other layers are the backbone.
        parameters: trainable parameters at 1000 classes, as published (Inception's count its auxiliary head).
        image_size: side in pixels at which its published ImageNet weights are evaluated.
        gflops: 1e9 multiply-adds for one image of `image_size`.
        min_image_size: smallest side in pixels that it takes.
        fixed_image_size: it takes images of `image_size` only.
        gflops_224: as `gflops`, for an image of 224 px; None where that is `image_size`.
        batchnorm_momentum: weight of a batch in its BatchNorm's running statistics; None where it has no BatchNorm.
    """

    name: str
    head: str
    parameters: int
    image_size: int
    gflops: float
    min_image_size: int = 1
    fixed_image_size: bool = False
    gflops_224: float | None = None
    batchnorm_momentum: float | None = 0.1


_TABLE = (
    Architecture("alexnet", "classifier.6", 61_100_840, 224, 0.714, 63, batchnorm_momentum=None),
    Architecture("convnext_base", "classifier.2", 88_591_464, 224, 15.355, 32, batchnorm_momentum=None),
    Architecture("convnext_large", "classifier.2", 197_767_336, 224, 34.361, 32, batchnorm_momentum=None),
    Architecture("convnext_small", "classifier.2", 50_223_688, 224, 8.684, 32, batchnorm_momentum=None),
    Architecture("convnext_tiny", "classifier.2", 28_589_128, 224, 4.456, 32, batchnorm_momentum=None),
    Architecture("densenet121", "classifier", 7_978_856, 224, 2.834, 29),
    Architecture("densenet161", "classifier", 28_681_000, 224, 7.728, 29),
    Architecture("densenet169", "classifier", 14_149_480, 224, 3.36, 29),
    Architecture("densenet201", "classifier", 20_013_928, 224, 4.291, 29),
    Architecture("efficientnet_b0", "classifier.1", 5_288_548, 224, 0.386),
    Architecture("efficientnet_b1", "classifier.1", 7_794_184, 240, 0.687, gflops_224=0.57),
    Architecture("efficientnet_b2", "classifier.1", 9_109_994, 288, 1.088, gflops_224=0.659),
    Architecture("efficientnet_b3", "classifier.1", 12_233_232, 300, 1.827, gflops_224=0.963),
    Architecture("efficientnet_b4", "classifier.1", 19_341_616, 380, 4.394, gflops_224=1.504),
    Architecture("efficientnet_b5", "classifier.1", 30_389_784, 456, 10.266, gflops_224=2.356, batchnorm_momentum=0.01),
    Architecture("efficientnet_b6", "classifier.1", 43_040_704, 528, 19.068, gflops_224=3.36, batchnorm_momentum=0.01),
    Architecture("efficientnet_b7", "classifier.1", 66_347_960, 600, 37.746, gflops_224=5.17, batchnorm_momentum=0.01),
    Architecture("efficientnet_v2_l", "classifier.1", 118_515_272, 480, 56.08, gflops_224=12.231),
    Architecture("efficientnet_v2_m", "classifier.1", 54_139_356, 480, 24.582, gflops_224=5.362),
    Architecture("efficientnet_v2_s", "classifier.1", 21_458_488, 384, 8.366, gflops_224=2.85),
    Architecture("googlenet", "fc", 6_624_904, 224, 1.498, 15),
    Architecture("inception_v3", "fc", 27_161_264, 299, 5.713, 75, gflops_224=2.838),
    Architecture("maxvit_t", "classifier.5", 30_919_624, 224, 5.558, 224, True, batchnorm_momentum=0.01),
    Architecture("mnasnet0_5", "classifier.1", 2_218_512, 224, 0.104, batchnorm_momentum=0.0003),
    Architecture("mnasnet0_75", "classifier.1", 3_170_208, 224, 0.215, batchnorm_momentum=0.0003),
    Architecture("mnasnet1_0", "classifier.1", 4_383_312, 224, 0.314, batchnorm_momentum=0.0003),
    Architecture("mnasnet1_3", "classifier.1", 6_282_256, 224, 0.526, batchnorm_momentum=0.0003),
    Architecture("mobilenet_v2", "classifier.1", 3_504_872, 224, 0.301),
    Architecture("mobilenet_v3_large", "classifier.3", 5_483_032, 224, 0.217, batchnorm_momentum=0.01),
    Architecture("mobilenet_v3_small", "classifier.3", 2_542_856, 224, 0.057, batchnorm_momentum=0.01),
    Architecture("regnet_x_16gf", "fc", 54_278_536, 224, 15.941),
    Architecture("regnet_x_1_6gf", "fc", 9_190_136, 224, 1.603),
    Architecture("regnet_x_32gf", "fc", 107_811_560, 224, 31.736),
    Architecture("regnet_x_3_2gf", "fc", 15_296_552, 224, 3.177),
    Architecture("regnet_x_400mf", "fc", 5_495_976, 224, 0.414),
    Architecture("regnet_x_800mf", "fc", 7_259_656, 224, 0.8),
    Architecture("regnet_x_8gf", "fc", 39_572_648, 224, 7.995),
    Architecture("regnet_y_128gf", "fc", 644_812_894, 224, 127.518),
    Architecture("regnet_y_16gf", "fc", 83_590_140, 224, 15.912),
    Architecture("regnet_y_1_6gf", "fc", 11_202_430, 224, 1.612),
    Architecture("regnet_y_32gf", "fc", 145_046_770, 224, 32.28),
    Architecture("regnet_y_3_2gf", "fc", 19_436_338, 224, 3.176),
    Architecture("regnet_y_400mf", "fc", 4_344_144, 224, 0.402),
    Architecture("regnet_y_800mf", "fc", 6_432_512, 224, 0.834),
    Architecture("regnet_y_8gf", "fc", 39_381_472, 224, 8.473),
    Architecture("resnet101", "fc", 44_549_160, 224, 7.801),
    Architecture("resnet152", "fc", 60_192_808, 224, 11.514),
    Architecture("resnet18", "fc", 11_689_512, 224, 1.814),
    Architecture("resnet34", "fc", 21_797_672, 224, 3.664),
    Architecture("resnet50", "fc", 25_557_032, 224, 4.089),
    Architecture("resnext101_32x8d", "fc", 88_791_336, 224, 16.414),
    Architecture("resnext101_64x4d", "fc", 83_455_272, 224, 15.46),
    Architecture("resnext50_32x4d", "fc", 25_028_904, 224, 4.23),
    Architecture("shufflenet_v2_x0_5", "fc", 1_366_792, 224, 0.04),
    Architecture("shufflenet_v2_x1_0", "fc", 2_278_604, 224, 0.145),
    Architecture("shufflenet_v2_x1_5", "fc", 3_503_624, 224, 0.296),
    Architecture("shufflenet_v2_x2_0", "fc", 7_393_996, 224, 0.583),
    Architecture("squeezenet1_0", "classifier.1", 1_248_424, 224, 0.819, 21, batchnorm_momentum=None),
    Architecture("squeezenet1_1", "classifier.1", 1_235_496, 224, 0.349, 17, batchnorm_momentum=None),
    Architecture("swin_b", "head", 87_768_224, 224, 15.431, 4, batchnorm_momentum=None),
    Architecture("swin_s", "head", 49_606_258, 224, 8.741, 4, batchnorm_momentum=None),
    Architecture("swin_t", "head", 28_288_354, 224, 4.491, 4, batchnorm_momentum=None),
    Architecture("swin_v2_b", "head", 87_930_848, 256, 20.325, 4, gflops_224=17.048, batchnorm_momentum=None),
    Architecture("swin_v2_s", "head", 49_737_442, 256, 11.546, 4, gflops_224=9.695, batchnorm_momentum=None),
    Architecture("swin_v2_t", "head", 28_351_570, 256, 5.94, 4, gflops_224=4.938, batchnorm_momentum=None),
    Architecture("vgg11", "classifier.6", 132_863_336, 224, 7.609, 32, batchnorm_momentum=None),
    Architecture("vgg11_bn", "classifier.6", 132_868_840, 224, 7.609, 32),
    Architecture("vgg13", "classifier.6", 133_047_848, 224, 11.308, 32, batchnorm_momentum=None),
    Architecture("vgg13_bn", "classifier.6", 133_053_736, 224, 11.308, 32),
    Architecture("vgg16", "classifier.6", 138_357_544, 224, 15.47, 32, batchnorm_momentum=None),
    Architecture("vgg16_bn", "classifier.6", 138_365_992, 224, 15.47, 32),
    Architecture("vgg19", "classifier.6", 143_667_240, 224, 19.632, 32, batchnorm_momentum=None),
    Architecture("vgg19_bn", "classifier.6", 143_678_248, 224, 19.632, 32),
    Architecture("vit_b_16", "heads.head", 86_567_656, 224, 17.564, 224, True, batchnorm_momentum=None),
    Architecture("vit_b_32", "heads.head", 88_224_232, 224, 4.409, 224, True, batchnorm_momentum=None),
    Architecture("vit_h_14", "heads.head", 632_045_800, 224, 167.295, 224, True, batchnorm_momentum=None),
    Architecture("vit_l_16", "heads.head", 304_326_632, 224, 61.555, 224, True, batchnorm_momentum=None),
    Architecture("vit_l_32", "heads.head", 306_535_400, 224, 15.378, 224, True, batchnorm_momentum=None),
    Architecture("wide_resnet101_2", "fc", 126_886_696, 224, 22.753),
    Architecture("wide_resnet50_2", "fc", 68_883_240, 224, 11.398),
)

ARCHITECTURES: dict[str, Architecture] = {entry.name: entry for entry in _TABLE}


def architecture(name: str) -> Architecture:
    """The table's entry for the architecture `name`.

    Raises:
        UnknownArchitectureError: there is none; the message suggests the nearest name.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    nearest = difflib.get_close_matches(name.lower(), ARCHITECTURES, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise UnknownArchitectureError(f"unknown architecture {name!r}: {hint}`scenerec models` lists them all")


def check_image_size(name: str, image_size: int) -> None:
    """Refuse square images that the architecture cannot take.

    Raises:
        UnknownArchitectureError: there is no architecture `name`.
        ImageSizeError: images of `image_size` pixels are too small, or not the one size that it takes.
    """
    entry = architecture(name)
    if entry.fixed_image_size and image_size != entry.image_size:
        raise ImageSizeError(f"{name} takes images of {entry.image_size} px only, not {image_size}")
    if image_size < entry.min_image_size:
        raise ImageSizeError(f"{name} takes images of at least {entry.min_image_size} px, not {image_size}")
