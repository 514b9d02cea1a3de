"""Views of images: by seed, epoch and position alone, inside the image, with torchvision's distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenerec.config.augment import AugmentConfig
from scenerec.data import augment
from scenerec.data.augment import AUGMENT_VERSION, Stream, View, center_crop, training_views, uniform_draws

sides = st.integers(1, 2000)


def views(config: AugmentConfig, count: int, height: int = 300, width: int = 400, **key: int) -> list:
    positions = np.arange(count)
    seed, epoch = key.get("seed", 0), key.get("epoch", 0)
    return training_views(config, seed, epoch, positions, np.full(count, height), np.full(count, width))


@given(sides, sides, st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_crops_lie_inside_the_image(height: int, width: int, seed: int, epoch: int) -> None:
    for view in views(AugmentConfig(), 4, height, width, seed=seed, epoch=epoch):
        assert view.height >= 1 and view.width >= 1
        assert 0 <= view.top <= height - view.height
        assert 0 <= view.left <= width - view.width


def test_a_reader_without_a_share_of_the_batch_has_no_views() -> None:
    assert views(AugmentConfig(), 0) == []


def test_each_colour_has_its_own_factor() -> None:
    drawn = views(AugmentConfig(color_jitter=0.4), 4000)
    colors = np.array([(view.brightness, view.contrast, view.saturation) for view in drawn])
    assert abs(np.corrcoef(colors.T) - np.eye(3)).max() < 0.06


def test_a_view_depends_on_its_position_only() -> None:
    config = AugmentConfig(color_jitter=0.4)
    together = views(config, 50)
    alone = [training_views(config, 0, 0, np.array([p]), np.array([300]), np.array([400]))[0] for p in range(50)]
    assert together == alone
    assert len(set(together)) == 50
    assert views(config, 50, epoch=1) != together
    assert views(config, 50, seed=1) != together


def test_the_crop_has_the_distribution_of_torchvision() -> None:
    """Area and position of 4000 crops against RandomResizedCrop's own draws: equal means and quantiles."""
    import torch
    from torchvision.transforms import RandomResizedCrop

    ours = np.array([v[:4] for v in views(AugmentConfig(), 4000)], dtype=float)
    torch.manual_seed(0)
    image = torch.empty(3, 300, 400)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], dtype=float
    )
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), rtol=0.06)
    np.testing.assert_allclose(
        np.quantile(ours, [0.25, 0.75], axis=0), np.quantile(theirs, [0.25, 0.75], axis=0), rtol=0.1
    )


def test_half_of_the_images_are_flipped_and_colours_stay_in_range() -> None:
    drawn = views(AugmentConfig(color_jitter=0.4), 4000)
    assert 0.46 < np.mean([view.flip for view in drawn]) < 0.54
    colors = np.array([(view.brightness, view.contrast, view.saturation) for view in drawn])
    assert colors.min() >= 0.6 and colors.max() <= 1.4
    np.testing.assert_allclose(colors.mean(0), 1.0, atol=0.02)


def test_all_can_be_turned_off() -> None:
    config = AugmentConfig(crop_scale=(1, 1), crop_ratio=(1, 1), flip=False)
    unchanged = View(0, 0, 256, 256, flip=False, brightness=1, contrast=1, saturation=1, hue=0)
    assert set(views(config, 20, 256, 256)) == {unchanged}


def test_a_narrow_image_gives_its_largest_allowed_crop() -> None:
    view = views(AugmentConfig(crop_scale=(0.9, 1.0)), 1, height=100, width=1000)[0]
    assert (view.height, view.width) == (100, 133)
    assert view.left == (1000 - 133) // 2


def test_several_images_of_several_sizes_have_their_own_largest_crop() -> None:
    config = AugmentConfig(crop_scale=(0.9, 1.0))
    heights, widths = np.array([100, 1000, 100]), np.array([1000, 100, 120])
    drawn = training_views(config, 0, 0, np.arange(3), heights, widths)
    assert [(view.height, view.width) for view in drawn[:2]] == [(100, 133), (133, 100)]
    assert drawn[1].top == (1000 - 133) // 2
    assert drawn[2].height * drawn[2].width >= 0.89 * 100 * 120


# If one of these changes, no run that was begun before can be resumed exactly: raise AUGMENT_VERSION.
FROZEN_VERSION = 3
FROZEN_DRAWS = {
    "CROP": [0.5422155372690423, 0.8481694065319076, 0.6819892656326866, 0.18463457214883372],
    "FLIP": [0.32857479629585173, 0.7519874253719255, 0.9847974552944287, 0.6507383680486051],
    "BRIGHTNESS": [0.5332383581128937, 0.18574036376457348, 0.5689739554653275, 0.6730622670888495],
    "CONTRAST": [0.41732692806312144, 0.17039682265201128, 0.4660049841888697, 0.928734377750545],
    "SATURATION": [0.9421636998910862, 0.3135676867435928, 0.06516213245746028, 0.7932668043186628],
    "COLOR_SHARE": [0.51769821565826, 0.4289814881095235, 0.9595303186896914, 0.31736910647491234],
    "GRAY": [0.8283995185144349, 0.27003222021706197, 0.9235034466201801, 0.017175703399366693],
    "BLUR": [0.22171475307904775, 0.9953983138240152, 0.3132613349483915, 0.7278223946918251],
    "SOLARIZE": [0.9182973108267458, 0.9939317174348851, 0.27220283047450033, 0.46638590728240037],
    "RAND_AUGMENT": [0.5198333174062099, 0.12635273229484767, 0.08250193179122522, 0.42331157218986337],
    "TRIVIAL_AUGMENT": [0.3800133026674216, 0.85939099906954, 0.3521889555861538, 0.6142763475479002],
    "ERASE": [0.8083534937996486, 0.1595968293680673, 0.5122451395448306, 0.715960305949074],
}
FROZEN_VIEWS = [
    {"top": 46, "left": 65, "height": 238, "width": 291, "flip": True}
    | {"brightness": 1.026590686490315, "contrast": 0.933861542450497, "saturation": 1.3537309599128688},
    {"top": 60, "left": 15, "height": 52, "width": 60, "flip": False}
    | {"brightness": 1.055179164372262, "contrast": 0.9728039873510956, "saturation": 0.6521297059659682},
    {"top": 0, "left": 223, "height": 40, "width": 53, "flip": True}
    | {"brightness": 1.347805780828327, "contrast": 0.9294579528901458, "saturation": 0.7413829278929369},
]


def test_the_streams_are_frozen() -> None:
    assert AUGMENT_VERSION == FROZEN_VERSION
    for stream, draws in FROZEN_DRAWS.items():
        assert uniform_draws(11, 2, Stream[stream], np.array([0, 7]), 2).ravel().tolist() == draws
    frozen_fields = tuple(FROZEN_VIEWS[0])
    heights, widths = np.array([300, 200, 40]), np.array([400, 90, 500])
    drawn = training_views(AugmentConfig(color_jitter=0.4), 11, 2, np.array([0, 7, 123456789]), heights, widths)
    for view, frozen in zip(drawn, FROZEN_VIEWS, strict=True):
        assert {field: getattr(view, field) for field in frozen_fields} == pytest.approx(frozen, rel=1e-12)


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(0, 2**40), st.integers(1, 60), st.sampled_from(Stream)
)
def test_a_draw_does_not_depend_on_how_many_are_asked_for(
    seed: int, epoch: int, position: int, draws: int, stream: Stream
) -> None:
    fewer = uniform_draws(seed, epoch, stream, np.array([position]), draws)
    more = uniform_draws(seed, epoch, stream, np.array([position + 1, position]), draws + 4)
    assert fewer[0].tolist() == more[1, :draws].tolist()


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(1, 1000))
def test_a_new_stream_has_numbers_of_its_own(seed: int, epoch: int, new: int) -> None:
    positions = np.arange(20)
    old = {number: uniform_draws(seed, epoch, number, positions, 3) for number in {*Stream} - {new}}
    drawn = uniform_draws(seed, epoch, new, positions, 3)
    for numbers in old.values():
        assert not np.isin(drawn, numbers).any()


PURPOSES = {
    ("top", "left", "height", "width"): ({"crop_scale": (0.3, 0.4)}, {"crop_ratio": (1, 2)}),
    ("flip",): ({"flip": False},),
    ("brightness", "contrast", "saturation"): ({"color_jitter": 0.1},),
    ("hue",): ({"hue": 0.2},),
    ("gray",): ({"gray": 0.5},),
    ("blur",): ({"blur": 0.5}, {"blur": 1, "blur_sigma": (1, 3)}),
    ("solarize",): ({"solarize": 0.5},),
    ("operations",): ({"rand_augment": {"num_ops": 2, "magnitude": 9}}, {"trivial_augment": True}),
    ("erased",): ({"erase": 0.5}, {"erase": 1, "erase_scale": (0.1, 0.2), "erase_mode": "pixel"}),
}


def test_every_field_of_a_view_has_its_purpose() -> None:
    assert [field for fields in PURPOSES for field in fields] == list(View._fields)


@given(st.integers(0, 2**32 - 1), st.integers(0, 100), st.sampled_from(list(PURPOSES)), st.data())
def test_what_serves_one_purpose_does_not_change_the_others(
    seed: int, epoch: int, fields: tuple[str, ...], data: st.DataObject
) -> None:
    changed = {"color_jitter": 0.4} | data.draw(st.sampled_from(PURPOSES[fields]))
    before = views(AugmentConfig(color_jitter=0.4), 20, seed=seed, epoch=epoch)
    after = views(AugmentConfig(**changed), 20, seed=seed, epoch=epoch)
    assert [[getattr(view, f) for f in fields] for view in before] != [[getattr(v, f) for f in fields] for v in after]
    others = [field for field in View._fields if field not in fields]
    for old, new in zip(before, after, strict=True):
        assert [getattr(old, field) for field in others] == [getattr(new, field) for field in others]


SHARES = AugmentConfig(color_jitter=0.4, hue=0.1, color_share=0.8, gray=0.2, blur=0.5, solarize=0.3)


def test_images_have_their_shares_and_no_change_goes_with_another() -> None:
    drawn = views(SHARES, 4000)
    chosen = np.array([(view.hue != 0, view.gray, view.blur > 0, view.solarize) for view in drawn])
    np.testing.assert_allclose(chosen.mean(0), (0.8, 0.2, 0.5, 0.3), atol=0.03)
    assert abs(np.corrcoef(chosen.T) - np.eye(4)).max() < 0.06
    blurs = 224 * np.array([view.blur for view in drawn if view.blur])
    assert blurs.min() >= 0.1 and blurs.max() <= 2.0
    assert blurs.mean() == pytest.approx(1.05, abs=0.03)
    assert abs(np.corrcoef(blurs, [view.hue for view in drawn if view.blur])[0, 1]) < 0.06


def test_colours_are_all_changed_or_none_is() -> None:
    changed = [(v.brightness != 1, v.contrast != 1, v.saturation != 1, v.hue != 0) for v in views(SHARES, 500)]
    assert {sum(each) for each in changed} == {0, 4}
    whole = views(SHARES.model_copy(update={"color_share": 1.0}), 500)
    for some, view, full in zip(changed, views(SHARES, 500), whole, strict=True):
        assert view == full or not any(some)  # what is changed is changed as without a share


def test_the_saturation_may_have_a_range_of_its_own() -> None:
    narrow = views(AugmentConfig(color_jitter=0.4, saturation=0.2), 500)
    wide = views(AugmentConfig(color_jitter=0.4), 500)
    for view, other in zip(narrow, wide, strict=True):
        assert (view.saturation - 1) == pytest.approx((other.saturation - 1) / 2)
        assert view.brightness == other.brightness
    assert AugmentConfig(saturation=0.2).changes_colors
    assert not AugmentConfig(color_jitter=0, saturation=0.0).changes_colors


def test_more_attempts_at_a_crop_change_only_crops_that_did_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    before = views(AugmentConfig(color_jitter=0.4), 500)
    monkeypatch.setattr(augment, "_CROP_ATTEMPTS", 15)
    assert views(AugmentConfig(color_jitter=0.4), 500) == before  # of a 4:3 photograph one of ten fits in any case
    narrow = AugmentConfig(crop_scale=(0.6, 1), crop_ratio=(1, 4), color_jitter=0.4)
    after = views(narrow, 200)
    monkeypatch.setattr(augment, "_CROP_ATTEMPTS", 1)
    fewer = views(narrow, 200)
    assert 0 < sum(old[:4] == new[:4] for old, new in zip(fewer, after, strict=True)) < 200
    assert [view[4:] for view in fewer] == [view[4:] for view in after]


@pytest.mark.parametrize(("ratio", "size"), [(4 / 3, (75, 100)), (3 / 4, (100, 75))])
def test_a_crop_may_be_as_wide_or_as_high_as_the_image(ratio: float, size: tuple[int, int]) -> None:
    drawn = views(AugmentConfig(crop_scale=(0.75, 0.75), crop_ratio=(ratio, ratio)), 50, 100, 100)
    assert {(view.height, view.width) for view in drawn} == {size}
    assert len({(view.top, view.left) for view in drawn}) > 10  # where the largest centred crop would be in one place


def test_crops_of_tiny_images_have_a_pixel_at_least() -> None:
    drawn = views(AugmentConfig(crop_scale=(0.02, 0.3), crop_ratio=(0.2, 5)), 500, 3, 3)
    assert {view.height for view in drawn} == {view.width for view in drawn} == {1, 2, 3}


def test_draws_are_uniform_and_do_not_repeat() -> None:
    draws = uniform_draws(3, 5, Stream.CROP, np.arange(5000), 7)
    assert draws.shape == (5000, 7)
    assert draws.min() >= 0 and draws.max() < 1
    assert len(np.unique(draws)) == draws.size
    np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.02)
    assert abs(np.corrcoef(draws.T) - np.eye(7)).max() < 0.06


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(16, 512), st.floats(0.5, 1))
def test_the_centre_crop_lies_inside_the_resized_image(height: int, width: int, size: int, ratio: float) -> None:
    crop = center_crop(height, width, size, ratio)
    assert 0 <= crop.top <= crop.height - size
    assert 0 <= crop.left <= crop.width - size
    assert abs((crop.height - size) / 2 - crop.top) <= 0.5


@pytest.mark.parametrize(
    ("height", "width", "resized"), [(256, 512, (256, 512)), (512, 256, (512, 256)), (100, 100, (256, 256))]
)
def test_evaluation_resizes_the_short_side_to_256_for_224(height: int, width: int, resized: tuple[int, int]) -> None:
    crop = center_crop(height, width, 224, 0.875)
    assert (crop.height, crop.width) == resized
