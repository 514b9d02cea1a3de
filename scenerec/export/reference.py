"""The network that an export starts from, in its own framework: what the exported model must answer."""

from scenerec.export.source import KerasNetwork, Source, TorchNetwork
from scenerec.inference.predictors.open_predictor import open_network
from scenerec.inference.predictors.predictor import NetworkInfo, Predictor


def open_reference(source: Source) -> Predictor:
    """Opens the network on the CPU, in float32. Raises ModelError where it cannot be built."""
    info = NetworkInfo(source.address, source.labels, source.preprocessing, source.task)
    if isinstance(source.network, KerasNetwork):
        from scenerec.inference.predictors import tf_predictor

        return tf_predictor.load_keras(source.network.path, info)
    if isinstance(source.network, TorchNetwork):
        from scenerec.inference.predictors import torch_predictor

        return torch_predictor.TorchPredictor(torch_predictor.import_network(source.network.import_path), info)
    return open_network(source.network, source.framework or "torch", info)
