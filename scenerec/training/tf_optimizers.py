"""SGD, AdamW, LARS and LAMB in TensorFlow with torch's update rules, and their state in neutral terms.

Mirrors torch_optimizers.

Keras's own differ: its SGD keeps lr x gradient in the velocity, so that a schedule acts late, and its AdamW adds
epsilon before the bias correction.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from scenerec.checkpoint import Tensors
from scenerec.config.optimize import OptimizeConfig
from scenerec.models.keras_twin.bindings import Binding
from scenerec.training.update_rule import SLOTS, trusts, weight_decay


class Optimizer:
    """SGD, AdamW, LARS or LAMB over named weights, with a learning rate for each: the given one times its factor.

    Weights with fewer than two axes (biases, normalisation) do not decay. It is made in the strategy's scope; `update`
    is called in its replica context.
    """

    def __init__(self, config: OptimizeConfig, weights: Sequence[Binding], lr_factors: Mapping[str, float]) -> None:
        self.config = config
        self.weights = weights
        self.lr_factors = lr_factors
        self.slots = {
            slot: [tf.Variable(tf.zeros(w.variable.shape, w.variable.dtype), trainable=False) for w in weights]
            for slot in SLOTS[config.optimizer]
        }
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False)

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """One step with gradients that are already the mean over the global batch; equal on all replicas."""
        self.updates.assign_add(1)
        corrections = self._bias_corrections(learning_rate.dtype)
        rules: dict[str, Callable[..., None]] = {
            "sgd": self._sgd,
            "adamw": partial(self._adamw, corrections),
            "lars": self._lars,
            "lamb": partial(self._lamb, corrections),
        }
        step = rules[self.config.optimizer]
        for index, (weight, gradient) in enumerate(zip(self.weights, gradients, strict=True)):
            decay = weight_decay(self.config, len(weight.variable.shape))
            slots = [variables[index] for variables in self.slots.values()]
            step(weight.variable, gradient, learning_rate * self.lr_factors[weight.key], decay, *slots)

    def _sgd(
        self,
        weight: keras.Variable,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
        decay: float,
        momentum_buffer: tf.Variable,
    ) -> None:
        """torch.optim.SGD: coupled decay; the buffer keeps gradients, the learning rate multiplies last."""
        momentum = self.config.momentum
        if decay:
            gradient = gradient + decay * weight
        if momentum:
            buffer = momentum * momentum_buffer + gradient
            momentum_buffer.assign(buffer)
            gradient = gradient + momentum * buffer if self.config.nesterov else buffer
        weight.assign(weight - learning_rate * gradient)

    def _lars(
        self,
        weight: keras.Variable,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
        decay: float,
        momentum_buffer: tf.Variable,
    ) -> None:
        """LARS of torch_optimizers, to which it says more."""
        if trusts(len(weight.shape)):
            gradient = gradient + decay * weight
            length, gradient_length = tf.norm(tf.convert_to_tensor(weight)), tf.norm(gradient)
            trust = self.config.trust_coefficient * length / gradient_length
            gradient = gradient * tf.where((length > 0) & (gradient_length > 0), trust, 1.0)
        momentum_buffer.assign(self.config.momentum * momentum_buffer + gradient)
        weight.assign(weight - learning_rate * momentum_buffer)

    def _adamw(
        self,
        corrections: Sequence[tf.Tensor],
        weight: keras.Variable,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
        decay: float,
        exp_avg: tf.Variable,
        exp_avg_sq: tf.Variable,
    ) -> None:
        """torch.optim.AdamW (Loshchilov, Hutter 2019, alg. 2): decoupled decay; epsilon after the bias correction."""
        correction1, correction2 = corrections
        first, second = self._moments(gradient, exp_avg, exp_avg_sq)
        denominator = tf.sqrt(second) / tf.sqrt(correction2) + self.config.eps
        decayed = weight * (1 - learning_rate * decay) if decay else weight
        weight.assign(decayed - learning_rate / correction1 * first / denominator)

    def _lamb(
        self,
        corrections: Sequence[tf.Tensor],
        weight: keras.Variable,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
        decay: float,
        exp_avg: tf.Variable,
        exp_avg_sq: tf.Variable,
    ) -> None:
        """LAMB of torch_optimizers, to which it says more."""
        correction1, correction2 = corrections
        first, second = self._moments(gradient, exp_avg, exp_avg_sq)
        change = first / correction1 / (tf.sqrt(second / correction2) + self.config.eps)
        if trusts(len(weight.shape)):
            change = change + decay * weight
            length, change_length = tf.norm(tf.convert_to_tensor(weight)), tf.norm(change)
            trust = tf.where((length > 0) & (change_length > 0), length / change_length, 1.0)
            change = change * (tf.minimum(trust, 1.0) if self.config.trust_clip else trust)
        weight.assign(weight - learning_rate * change)

    def _moments(
        self, gradient: tf.Tensor, exp_avg: tf.Variable, exp_avg_sq: tf.Variable
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The running means of a gradient and of its square (Kingma, Ba 2015, alg. 1), which it moves on."""
        beta1, beta2 = self.config.betas
        first = exp_avg + (1 - beta1) * (gradient - exp_avg)
        second = beta2 * exp_avg_sq + (1 - beta2) * tf.square(gradient)
        exp_avg.assign(first)
        exp_avg_sq.assign(second)
        return first, second

    def _bias_corrections(self, dtype: tf.DType) -> list[tf.Tensor]:
        """1 - beta^t of both moments at this step; in float32 the second would have four digits at first."""
        count = tf.cast(self.updates, tf.float64)
        return [tf.cast(1 - tf.constant(beta, tf.float64) ** count, dtype) for beta in self.config.betas]

    def state(self) -> dict[str, Tensors]:
        """slot -> parameter name -> float32 array in torch's layout."""
        return {
            slot: {
                w.key: np.asarray(w.to_neutral(v.numpy()), np.float32)
                for w, v in zip(self.weights, variables, strict=True)
            }
            for slot, variables in self.slots.items()
        }

    def load_state(self, state: Mapping[str, Tensors], updates: int) -> None:
        """Sets all slots, and the number of updates made, from which AdamW and LAMB correct their bias."""
        for slot, variables in self.slots.items():
            for weight, variable in zip(self.weights, variables, strict=True):
                variable.assign(weight.to_keras(np.asarray(state[slot][weight.key])))
        self.updates.assign(updates)


def clip_by_global_norm(gradients: Sequence[tf.Tensor], largest: float) -> list[tf.Tensor]:
    """torch's clip_grad_norm_: scales by largest / (norm + 1e-6) where that is below 1."""
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients]))
    factor = tf.minimum(largest / (norm + 1e-6), 1.0)
    return [gradient * factor for gradient in gradients]
