"""The converter of the module that encodes coordinates."""

from scenerec.models.keras_twin import coordinate_layers
from scenerec.models.keras_twin.context import Context
from scenerec.models.keras_twin.converters import converts_module
from scenerec.models.keras_twin.layout import BATCH, Value
from scenerec.models.torch_geo import CoordinateEncoding


@converts_module(CoordinateEncoding)
def coordinate_encoding(ctx: Context, encoding: CoordinateEncoding, coordinates: Value, known: Value) -> Value:
    """Converts the encoding as a whole, in the dtype of its inputs: half precision cannot tell degrees apart."""
    features = ctx.apply(
        coordinate_layers.CoordinateEncoding,
        coordinates.tensor,
        known.tensor,
        spec=encoding.spec.model_dump(),
        dtype=coordinates.tensor.dtype,
    )
    return Value(features, (BATCH, encoding.features), (0, 1))
