"""P2 as Keras' own example of a siamese network has it, on JAX or TensorFlow, whichever is installed."""

import importlib.util
import os
from pathlib import Path

import numpy as np

from lab.benchmark.cases import MARGIN, Case
from lab.benchmark.clock import Clock
from lab.benchmark.data import digits


def backend() -> str | None:
    """Return the backend that there is, if there is one."""
    return next((name for name in ("jax", "tensorflow") if importlib.util.find_spec(name) is not None), None)


def keras(case: Case, root: Path, clock: Clock) -> None:
    """Train on pairs that are made before, by ``fit``: compiled by the backend, with the data in memory."""
    os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or backend() or ""
    import keras as library

    layers, ops = library.layers, library.ops

    class EpochClock(library.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            clock.lap(num_steps)

    network = library.Sequential(
        [layers.Input((784,)), layers.Dense(128, "relu"), layers.Dropout(0.1), layers.Dense(128, "relu"), layers.Dropout(0.1),
         layers.Dense(128, "relu")]
    )  # fmt: skip
    first, second = layers.Input((784,)), layers.Input((784,))

    def apart(embedded: list[object]) -> object:
        squared = ops.sum(ops.square(embedded[0] - embedded[1]), axis=1, keepdims=True)  # type: ignore[operator]
        return ops.sqrt(ops.maximum(squared, 1e-12))

    def loss(same: object, distances: object) -> object:
        push = ops.square(ops.maximum(MARGIN - distances, 0.0))  # type: ignore[operator]
        return ops.mean(same * ops.square(distances) + (1.0 - same) * push)  # type: ignore[operator]

    distances = layers.Lambda(apart, output_shape=(1,))([network(first), network(second)])
    model = library.Model([first, second], distances)
    model.compile(optimizer=library.optimizers.RMSprop(1e-3), loss=loss)
    images, labels = (array.numpy() for array in digits(root))
    flat = images.reshape(len(images), 784).astype("float32") / 255
    num_steps = len(flat) // case.batch_size
    generator = np.random.default_rng(0)
    num = case.batch_size // 2
    one, other = generator.integers(len(flat), size=(2, num_steps * num))
    same = (labels[one] == labels[other]).astype("float32")[:, None]
    model.fit([flat[one], flat[other]], same, batch_size=num, epochs=10**6, verbose=0, callbacks=[EpochClock()])
