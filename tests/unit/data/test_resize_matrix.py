import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scenerec.data.resize_matrix import resize_matrix


@pytest.mark.parametrize(("size", "target"), [(32, 48), (48, 32), (33, 224), (224, 65), (7, 7)])
def test_an_image_is_resized_as_torch_does_it(size: int, target: int) -> None:
    image = np.random.default_rng(size).normal(size=(size, size)).astype(np.float32)
    matrix = resize_matrix(size, target)
    expected = F.interpolate(torch.from_numpy(image)[None, None], (target, target), mode="bilinear", antialias=True)
    np.testing.assert_allclose(matrix @ image @ matrix.T, expected[0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    assert matrix.min() >= 0  # so that nothing gets brighter than white
