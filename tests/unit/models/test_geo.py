"""Networks that read coordinates: their encodings, and the same network in both frameworks."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torchvision  # noqa: F401  (before tensorflow)

import keras  # isort: skip
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from scenerec.errors import ModelError
from scenerec.models import geo, tf_geo, tf_model, torch_geo, torch_model, torch_outline
from scenerec.models.blocks import block_numbers
from scenerec.models.freezing import frozen_names
from scenerec.models.geo import GeoSpec
from scenerec.models.keras_twin import builder
from scenerec.models.keras_twin.coordinate_layers import CoordinateEncoding
from tests.tiny_geo import CLASSES, SIZE, draw_places, tiny_geo_network

FUSIONS: tuple[Literal["logits", "concat", "modulate"], ...] = ("logits", "concat", "modulate")
WRAPPED, MULTISCALE = GeoSpec(time=True), GeoSpec(encoding="multiscale", scales=12, time=True)

degrees = st.tuples(st.floats(-90, 90, width=32), st.floats(-180, 180, width=32), st.floats(0, 1, width=32))


def small(**options: Any) -> GeoSpec:
    return GeoSpec(**{"width": 8, "blocks": 2, "time": True, **options})


def of_torch(places: np.ndarray) -> tuple[torch.Tensor, ...]:
    return torch_geo.network_inputs(torch.from_numpy(places), torch.float32)


def of_tf(places: np.ndarray) -> tuple[tf.Tensor, ...]:
    return tf_geo.network_inputs(tf.constant(places), tf.float32)


def test_wrapped_is_mac_aodhas() -> None:
    place = np.array([[45, -90, 0.25]], np.float32)
    found = geo.encode(WRAPPED, place, np.ones((1, 2), np.float32))
    turned = np.pi * np.array([45 / 90, -90 / 180, 2 * 0.25])
    np.testing.assert_allclose(found, [[*np.sin(turned), *np.cos(turned)]], atol=1e-6)


def test_multiscale_is_space2vecs_grid() -> None:
    spec, place = GeoSpec(encoding="multiscale", scales=5), np.array([[48.137, 11.575, 0]], np.float32)
    found = geo.encode(spec, place, np.ones((1, 2), np.float32))
    # x / (lambda_min g^(s / (S - 1))), g = lambda_max / lambda_min; s counts from the shortest
    longest, shortest = 360 / (2 * np.pi), 360 / (2 * np.pi) / 2**4
    scales = [shortest * (longest / shortest) ** (s / 4) for s in reversed(range(5))]
    angles = np.array([x / scale for x in (48.137, 11.575) for scale in scales])
    np.testing.assert_allclose(found, [[*np.sin(angles), *np.cos(angles)]], atol=2e-5)


@given(place=degrees)
def test_what_is_unknown_is_zero_and_what_is_known_is_not(place: tuple[float, float, float]) -> None:
    place_alone = geo.encode(WRAPPED, np.array([place], np.float32), np.array([[1, 0]], np.float32))
    assert (place_alone[:, [2, 5]] == 0).all()
    np.testing.assert_allclose(np.square(place_alone).sum(), 2, atol=1e-5)
    assert not geo.encode(MULTISCALE, np.array([place], np.float32), np.zeros((1, 2), np.float32)).any()


@given(latitude=st.floats(-90, 90, width=32))
def test_the_date_line_is_no_border(latitude: float) -> None:
    east, west = np.array([[latitude, 180, 0]], np.float32), np.array([[latitude, -180, 0]], np.float32)
    for spec in (WRAPPED, MULTISCALE):
        known = np.ones((1, 2), np.float32)
        np.testing.assert_allclose(geo.encode(spec, east, known), geo.encode(spec, west, known), atol=1e-6)


@pytest.mark.parametrize("spec", [WRAPPED, MULTISCALE, GeoSpec(encoding="multiscale", scales=16)])
def test_encodings_are_equal_in_numpy_torch_and_tensorflow(spec: GeoSpec, rng: np.random.Generator) -> None:
    values, known = (tensor.numpy() for tensor in of_torch(draw_places(rng, 500)))
    expected = geo.encode(spec, values, known)
    assert expected.dtype == np.float32 and np.isfinite(expected).all()
    ours = torch_geo.CoordinateEncoding(spec)(torch.from_numpy(values), torch.from_numpy(known)).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    layer = tf.function(CoordinateEncoding(spec.model_dump()))  # as graph, in which constants are folded
    np.testing.assert_allclose(layer(tf.constant(values), tf.constant(known)), expected, atol=1e-6)


def test_both_frameworks_split_places_as_the_data_does(rng: np.random.Generator) -> None:
    places = draw_places(rng, 5)
    for values, known in (map(np.asarray, of_torch(places)), map(np.asarray, of_tf(places))):
        np.testing.assert_array_equal(values, np.nan_to_num(places))
        np.testing.assert_array_equal(known, [[1, 1]] * 3 + [[1, 0], [0, 0]])
    assert torch_geo.network_inputs(None, torch.float32) == tf_geo.network_inputs(None, tf.float32) == ()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_twin_reads_coordinates_as_torch_does(fusion: Any, rng: np.random.Generator) -> None:
    network = tiny_geo_network(small(fusion=fusion, encoding="multiscale"))
    state = torch_model.state(network)
    twin = builder.twin(network, SIZE, name="twin")
    tf_model.load_state(twin, state)
    assert all(np.array_equal(array, state[key]) for key, array in tf_model.state(twin).items())

    images, places = rng.normal(size=(4, 3, SIZE, SIZE)).astype("float32"), draw_places(rng, 4)
    with torch.no_grad():
        expected = network(torch.from_numpy(images), *of_torch(places)).numpy()
        by_image = network(torch.from_numpy(images), *of_torch(np.full_like(places, np.nan))).numpy()
    found = twin([tf.constant(images.transpose(0, 2, 3, 1)), *of_tf(places)], training=False).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected - by_image).max(axis=1)[:3].min() > 1e-3  # places count
    np.testing.assert_array_equal(expected[3], by_image[3])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_without_a_place_it_is_the_image_network(fusion: Any, rng: np.random.Generator) -> None:
    """And so it is at first with one, since the last layer starts at 0."""
    plain, network = (
        torch_model.build("mobilenet_v3_small", CLASSES, 3, spec).eval() for spec in (None, small(fusion=fusion))
    )
    expected, found = torch_model.state(plain), torch_model.state(network)
    assert {key for key in found if not key.startswith("geo.")} == set(expected)
    assert all(np.array_equal(expected[key], found[key]) for key in expected)

    images = torch.from_numpy(rng.normal(size=(2, 3, SIZE, SIZE)).astype("float32"))
    with torch.no_grad():
        logits = plain(images)
        torch.testing.assert_close(network(images, *of_torch(draw_places(rng, 2))), logits, rtol=0, atol=0)
        network.geo.output.weight.normal_()
        unknown = np.full((2, 3), np.nan, np.float32)
        torch.testing.assert_close(network(images, *of_torch(unknown)), logits, rtol=0, atol=0)


@pytest.mark.parametrize("arch", ["resnet18", "vit_b_16", "squeezenet1_1", "swin_t", "densenet121"])
def test_the_backbone_is_all_but_the_head_and_what_reads_coordinates(arch: str) -> None:
    names = list(torch_outline.parameter_shapes(arch, CLASSES, small()))
    plain = list(torch_outline.parameter_shapes(arch, CLASSES))
    assert [name for name in names if not name.startswith("geo.")] == plain
    assert frozen_names(arch, "backbone", names) == frozen_names(arch, "backbone", plain)
    numbers = block_numbers(arch, names)
    assert {name: numbers[name] for name in plain} == block_numbers(arch, plain)
    assert {numbers[name] for name in names if name.startswith("geo.")} == {max(numbers.values())}


def test_a_head_that_is_a_convolution_takes_logits_alone() -> None:
    assert torch_outline.state_shapes("squeezenet1_1", CLASSES, small())["geo.output.weight"] == (CLASSES, 8)
    with pytest.raises(ModelError, match=r"squeezenet1_1's is a convolution: take logits"):
        small(fusion="concat").check_suits("squeezenet1_1")
    small(fusion="concat").check_suits("resnet18")


def test_degrees_survive_mixed_precision(set_policy: Callable[[str], None], rng: np.random.Generator) -> None:
    """bfloat16 has three digits: of 11.575 degrees it makes 11.56."""
    set_policy("mixed_bfloat16")
    twin = tf_model.build("squeezenet1_1", CLASSES, SIZE, 0, MULTISCALE)
    (layer,) = (layer for layer in twin.layers if isinstance(layer, CoordinateEncoding))
    values, known = of_tf(draw_places(rng, 50))
    found = keras.Model(twin.inputs, layer.output)([tf.zeros((50, SIZE, SIZE, 3)), values, known])
    np.testing.assert_allclose(found, geo.encode(MULTISCALE, values.numpy(), known.numpy()), atol=1e-6)
