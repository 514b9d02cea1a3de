"""Kinds of numbers that several blocks take."""

from typing import Annotated

from pydantic import Field

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
