"""How far a model may be from the network that it was made from, by the arithmetic that it computes in."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic"]
"""Arithmetic of a model; in int8-dynamic the activations' scales are found at each call."""


@dataclass(frozen=True)
class Tolerance:
    """What is let through of a model of one precision. Differences of logits are over their scale."""

    difference: float
    """Largest difference from the logits of the network in its framework."""
    agreement: float
    """Smallest share of images to which the model and the network give the same first label."""
    cosine: float
    """Smallest cosine similarity of an image's features to the network's, where the model gives those."""
    golden: float
    """Largest difference from the golden logits: int8 kernels round otherwise on other processors."""


TOLERANCES: dict[Precision, Tolerance] = {
    # Rounding alone; a first label then differs only where two logits are as good as equal.
    "fp32": Tolerance(difference=1e-4, agreement=0.0, cosine=0.9999, golden=1e-3),
    # Half precision has 11 bits: 5e-4 for each operation, and dozens in a row.
    "fp16": Tolerance(difference=2e-2, agreement=0.98, cosine=0.999, golden=2e-2),
    # Eight bits move the logits; whether that costs accuracy is for the gate that made the bundle.
    "int8": Tolerance(difference=float("inf"), agreement=0.9, cosine=0.9, golden=0.1),
    "int8-dynamic": Tolerance(difference=float("inf"), agreement=0.9, cosine=0.9, golden=0.1),
}
"""Precision -> what is let through. Every precision of a bundle is here."""
