"""What a network may learn from labels."""

from typing import Literal

TaskName = Literal["classification", "multilabel"]
"""`classification`: of each image one class. `multilabel`: any number of labels."""
