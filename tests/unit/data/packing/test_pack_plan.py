from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scenerec.data.coordinates import Coordinates
from scenerec.data.packing.pack_plan import PackOptions, PackPlan, cut, plan_split
from scenerec.data.packing.raw_set import RawImage

SIZES = st.lists(st.integers(1, 100_000), min_size=1, max_size=200)


@given(SIZES, st.floats(1, 1e7))
def test_cut_gives_every_item_to_exactly_one_shard(sizes: list[int], target: float) -> None:
    shards = cut(sizes, target)
    assert [index for start, end in shards for index in range(start, end)] == list(range(len(sizes)))
    assert all(start < end for start, end in shards)
    assert all(sum(sizes[start:end]) <= target + max(sizes) for start, end in shards)


@given(SIZES, st.floats(1, 1e7))
def test_cut_leaves_no_small_rest(sizes: list[int], target: float) -> None:
    totals = [sum(sizes[start:end]) for start, end in cut(sizes, target)]
    assert max(totals) - min(totals) <= 2 * max(sizes)


def plan(paths: list[str], options: PackOptions, size_bytes: int = 1000) -> PackPlan:
    images = [(RawImage(path, f"class{index % 3}"), size_bytes) for index, path in enumerate(paths)]
    return plan_split("train", "imagefolder", ["class0", "class1", "class2"], images, options)


@given(
    st.lists(st.text("ab._/ é", min_size=1, max_size=70), min_size=1, max_size=60),
    st.integers(0, 5),
    st.sampled_from([0.002, 0.01, 48]),
)
def test_every_image_is_planned_once_under_a_key_of_its_own(paths: list[str], seed: int, shard_mb: float) -> None:
    found = plan(paths, PackOptions(seed=seed, shard_mb=shard_mb))
    images = [image for shard in found.shards for image in shard]
    assert Counter((image.index, image.path, image.label) for image in images) == Counter(
        (index, path, index % 3) for index, path in enumerate(paths)
    )
    keys = [image.key for image in images]
    assert len(set(keys)) == len(keys)
    assert all(key.isascii() and "." not in key and "/" not in key and len(key) <= 60 for key in keys)
    assert found.images == len(paths)


def test_the_seed_decides_the_order_and_nothing_else_does() -> None:
    paths = [f"{index}.jpg" for index in range(50)]

    def order(options: PackOptions) -> list[str]:
        return [image.path for shard in plan(paths, options).shards for image in shard]

    assert order(PackOptions(seed=1)) == order(PackOptions(seed=1, shard_mb=0.01))
    assert order(PackOptions(seed=1)) != order(PackOptions(seed=2)) != paths


def test_the_fingerprint_changes_with_all_that_the_bytes_depend_on() -> None:
    options = PackOptions()
    prints = {
        plan(["a.jpg", "b.jpg"], options).fingerprint,
        plan(["a.jpg", "c.jpg"], options).fingerprint,
        plan(["a.jpg", "b.jpg"], options, size_bytes=1001).fingerprint,
        plan(["a.jpg", "b.jpg"], replace(options, seed=1)).fingerprint,
        plan(["a.jpg", "b.jpg"], replace(options, quality=80)).fingerprint,
        plan(["a.jpg", "b.jpg"], replace(options, short_side=64)).fingerprint,
        plan(["a.jpg", "b.jpg"], replace(options, shard_mb=0.002)).fingerprint,
        plan(["a.jpg", "b.jpg"], replace(options, keep_metadata=True)).fingerprint,
    }
    assert len(prints) == 8
    assert plan(["a.jpg", "b.jpg"], options).fingerprint in prints


def test_a_plan_that_keeps_metadata_is_that_of_sets_from_before_it_was_taken_out() -> None:
    images = [(RawImage("a.jpg", "sea"), 1000), (RawImage("b.jpg", "city"), 1000)]
    options = PackOptions(short_side=64, keep_metadata=True)
    before = "ee41d6ad3a4cf65542fef2aab3f82df4be5d137db11dcfc7c870c842eb19dded"
    assert plan_split("train", "csv", ("city", "sea"), images, options).fingerprint == before


def test_coordinates_are_part_of_a_plan() -> None:
    def fingerprint(coordinates: Coordinates | None, from_exif: bool = False) -> str:
        images = [(RawImage("a.jpg", "sea", coordinates), 1000)]
        return plan_split("train", "csv", ("sea",), images, PackOptions(coordinates_from_exif=from_exif)).fingerprint

    places = (None, Coordinates(1.5, 2.5), Coordinates(1.5, 2.75), Coordinates(1.5, 2.5, 0.5))
    assert len({fingerprint(place) for place in places} | {fingerprint(None, from_exif=True)}) == 5


def test_shrunk_images_need_fewer_shards() -> None:
    images = [(RawImage(f"{index}.jpg", "sea"), 50_000) for index in range(100)]
    options = PackOptions(shard_mb=0.5)
    full = plan_split("train", "imagefolder", ["sea"], images, options)
    shrunk = plan_split("train", "imagefolder", ["sea"], images, options, encoded_share=0.1)
    assert (len(full.shards), len(shrunk.shards)) == (11, 2)
