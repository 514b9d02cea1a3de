"""What a network may learn from labels, and what a model may answer."""

from typing import Literal

TaskName = Literal["classification", "multilabel"]
"""`classification`: of each image one class. `multilabel`: any number of labels."""

ModelTask = Literal[TaskName, "embedding"]
"""What a model answers: that of a training, or `embedding`: the features that its backbone makes of an image."""
