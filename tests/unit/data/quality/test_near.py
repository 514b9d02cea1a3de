"""Which pictures look alike."""

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from scenerec.data.quality.facts import PictureFacts, measure
from scenerec.data.quality.near import MOST_BITS, groups_of, hash_pairs, near_pairs
from tests.unit.data.quality.textures import texture


def facts(pixels: np.ndarray) -> PictureFacts:
    return measure("x.jpg", "train", "sea", b"", pixels)


def encoded_anew(pixels: np.ndarray, quality: int = 70, scale: float = 1.0) -> np.ndarray:
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.resize((round(image.width * scale), round(image.height * scale))).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_of_near_hashes_are_found(seed: int) -> None:
    draws = np.random.default_rng(seed)
    bits = draws.integers(0, 2**64, 40, np.uint64)
    flipped = [bits[draws.integers(40)] ^ np.uint64(sum(1 << place for place in draws.choice(64, count, replace=False)))
               for count in range(16) for _ in range(4)]  # fmt: skip
    everything = np.concatenate([bits, np.array(flipped, np.uint64)])
    found = {
        pair for first, second in hash_pairs(everything) for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    near = {
        (first, second)
        for first, second in combinations(range(len(everything)), 2)
        if (int(everything[first]) ^ int(everything[second])).bit_count() <= MOST_BITS
    }
    assert near == found
    assert len(near) > 30


def test_a_picture_is_known_again_in_another_size_and_quality() -> None:
    pictures = [texture(seed) for seed in range(12)]
    copies = [encoded_anew(pictures[0]), encoded_anew(pictures[1], 90, 0.5), encoded_anew(pictures[2], 80, 1.7)]
    found = near_pairs([facts(each) for each in (*pictures, *copies)])
    assert found == [(0, 12), (1, 13), (2, 14)]


def test_a_dull_picture_is_known_again_and_other_colours_are_another_picture() -> None:
    dull = (120 + texture(0).astype(np.float32) / 15).astype(np.uint8)
    red = texture(1)
    blue = red[..., ::-1]
    assert near_pairs([facts(dull), facts(encoded_anew(dull, 95)), facts(red), facts(blue)]) == [(0, 1)]


def test_groups_are_what_pairs_connect() -> None:
    assert groups_of([(3, 1), (5, 3), (0, 2)], 7) == [[0, 2], [1, 3, 5]]
    assert groups_of([], 3) == []
