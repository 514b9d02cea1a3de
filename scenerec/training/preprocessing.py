"""Which preprocessing a run takes: what its config says, else what its checkpoints do, else what its first weights do.

A run keeps the one that it began with, whatever is known of its first weights by now.
"""

from scenerec.checkpoint import read_run_state
from scenerec.config.run import RunConfig
from scenerec.models.preprocessing import WeightPreprocessing
from scenerec.storage import IMPATIENT, Patience
from scenerec.training.initial import weights_preprocessing
from scenerec.training.run_folder import RunFolder


def run_preprocessing(config: RunConfig, patience: Patience = IMPATIENT, restart: bool = False) -> WeightPreprocessing:
    """The preprocessing of a run; with `restart` earlier checkpoints do not count.

    A URL's weights have to be in the store by now (`prepare_weights`). Raises ModelError, CheckpointError,
    StorageError.
    """
    folder, data = RunFolder(config.run_url, patience), config.data
    newest = None if restart else folder.latest_checkpoint()
    known = (
        WeightPreprocessing.of_data(read_run_state(folder.checkpoints, newest).config["data"])
        if newest
        else weights_preprocessing(config, patience)
    )
    return known.changed(**{field: getattr(data, field) for field in WeightPreprocessing.model_fields})


def prepared(config: RunConfig, preprocessing: WeightPreprocessing) -> RunConfig:
    """The same config, which says all of its preprocessing."""
    return config.model_copy(update={"data": config.data.prepared_by(preprocessing)})
