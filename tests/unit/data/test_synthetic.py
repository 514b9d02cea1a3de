import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenerec.data.coordinates import Coordinates
from scenerec.data.packing.coordinate_list import locate
from scenerec.data.packing.layouts import read_raw_set
from scenerec.data.packing.places import read_places
from scenerec.data.synthetic import draw_scene, draw_scenes
from scenerec.data.synthetic_coordinates import COORDINATES_FILE, REGIONS
from scenerec.data.synthetic_scenes import PLACES, SCENES
from scenerec.errors import DataError


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.jpg")}


def test_an_image_folder_of_the_asked_size(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    names = draw_scenes(tmp_path / "scenes", 12, 3, 2, size=40, on_progress=lambda *now: seen.append(now))
    source = read_raw_set(tmp_path / "scenes")
    assert source.classes == names == tuple(sorted(SCENES))
    assert {split: len(images) for split, images in source.splits.items()} == {"train": 36, "val": 24}
    assert seen[-1] == (60, 60)
    assert {Image.open(source.root / image.path).size for image in source.splits["train"]} == {(40, 40)}
    assert len(set(digests(tmp_path / "scenes").values())) == 60
    assert read_places(source) == PLACES
    assert all(place.indoor_outdoor and len(place.category) == 2 for place in PLACES.values())


def test_the_same_seed_draws_the_same_bytes_also_among_more(tmp_path: Path) -> None:
    draw_scenes(tmp_path / "one", 3, 2, 1, size=32, seed=7)
    draw_scenes(tmp_path / "more", 5, 4, 1, size=32, seed=7)
    draw_scenes(tmp_path / "other", 3, 2, 1, size=32, seed=8)
    one, more, other = (digests(tmp_path / name) for name in ("one", "more", "other"))
    assert one.items() <= more.items()
    assert not one.items() & other.items()


def test_the_classes_can_be_told_apart_but_not_by_one_pixel() -> None:
    rng_of = [np.random.default_rng([3, label, index]) for label in range(12) for index in range(60)]
    images = [draw_scene(list(SCENES)[n // 60], 32, rng) for n, rng in enumerate(rng_of)]
    pixels = np.stack([np.asarray(image) for image in images]) / 255
    labels = np.repeat(np.arange(12), 60)
    train = np.arange(len(labels)) % 60 < 45

    def accuracy(features: np.ndarray) -> float:
        """Of the nearest class centre, with features scaled to unit variance."""
        scaled = (features - features[train].mean(0)) / (features[train].std(0) + 1e-6)
        centres = np.stack([scaled[train & (labels == label)].mean(0) for label in range(12)])
        nearest = ((scaled[~train][:, None] - centres) ** 2).sum(2).argmin(1)
        return float((nearest == labels[~train]).mean())

    blocks = pixels.reshape(len(images), 8, 4, 8, 4, 3)
    contrast = blocks.std((2, 4)).reshape(len(images), -1)
    looks = np.concatenate([blocks.mean((2, 4)).reshape(len(images), -1), 3 * contrast], axis=1)
    assert accuracy(looks) > 0.7
    assert max(accuracy(pixels[:, y, x]) for y in range(2, 32, 4) for x in range(2, 32, 4)) < 0.6


def test_a_folder_in_use_and_numbers_out_of_range(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="is not empty: choose a new folder"):
        draw_scenes(tmp_path)
    for wrong in ({"classes": 13}, {"classes": 1}, {"train_per_class": 0}, {"size": 8}, {"seed": -1}):
        with pytest.raises(DataError, match=f"^{next(iter(wrong))}: "):
            draw_scenes(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_scenes_that_look_alike_are_told_apart_by_where_they_were_taken(tmp_path: Path) -> None:
    names = draw_scenes(tmp_path / "place", 6, 8, 1, size=16, coordinates="place")
    assert names == ("beach_north", "beach_south", "city_atlantic", "city_pacific", "forest_north", "forest_south")
    raw = locate(read_raw_set(tmp_path / "place"), tmp_path / "place" / COORDINATES_FILE)
    for name, place in read_places(raw).items():
        assert place == PLACES[name.partition("_")[0]]
    middles = {name: np.array(middle) for name, middle in REGIONS.items()}
    for image in raw.splits["train"]:
        scene, _, region = image.class_name.partition("_")
        assert image.coordinates is not None and image.coordinates.time is not None

        def distance(name: str, here: Coordinates = image.coordinates) -> float:
            away = np.array(here[:2]) - middles[name]
            return float(np.hypot(away[0], (away[1] + 180) % 360 - 180))

        alike = [name.partition("_")[2] for name in names if name.startswith(scene)]
        assert min(alike, key=distance) == region


def test_coordinates_that_are_noise_leave_the_pictures_as_they_are(tmp_path: Path) -> None:
    for name, kind in (("none", "none"), ("noise", "noise"), ("again", "noise")):
        draw_scenes(tmp_path / name, 3, 4, 1, size=16, coordinates=kind)  # type: ignore[arg-type]
    assert digests(tmp_path / "none") == digests(tmp_path / "noise")
    assert not (tmp_path / "none" / COORDINATES_FILE).exists()
    tables = [(tmp_path / name / COORDINATES_FILE).read_text() for name in ("noise", "again")]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) == 1 + 3 * 5
    locate(read_raw_set(tmp_path / "noise"), tmp_path / "noise" / COORDINATES_FILE)


def test_look_alikes_come_in_pairs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="classes: 5 is odd: scenes that look alike come in pairs"):
        draw_scenes(tmp_path / "scenes", 5, 1, 1, coordinates="place")
    draw_scenes(tmp_path / "many", 24, 1, 1, size=16, coordinates="place")
