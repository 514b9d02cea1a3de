"""Objects of JSON that are passed on as they are: a job's result, a config in a checkpoint, what Ray is told."""

from typing import Any

JsonObject = dict[str, Any]
"""An object of JSON by key, as json.loads gives it; nobody has checked what it holds."""
