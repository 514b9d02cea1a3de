"""When a run is saved."""

from pydantic import Field

from scenerec.config.block import Block


class CheckpointConfig(Block):
    """When the run can be resumed from."""

    every_steps: int = Field(1000, ge=1)
    """Steps between checkpoints; each epoch ends with one as well."""
    keep: int = Field(3, ge=1)
    """Newest checkpoints that are kept, beside the best."""
