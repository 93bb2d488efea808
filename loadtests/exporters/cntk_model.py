"""Trains a small network with CNTK and lets CNTK's own exporter write it as ONNX; see README.md beside this file.

python cntk_model.py DIRECTORY
"""

import sys
from pathlib import Path

import cntk
import numpy as np
from patterns import SIDE, draw

STEPS, BATCH = 150, 24


def network(pictures):
    """A branch that is added, pools, dense layers, softmax; CNTK's names for most of it."""
    layers = cntk.layers
    first = layers.Convolution2D((3, 3), 8, pad=True, activation=cntk.relu)(pictures)
    value = layers.Convolution2D((3, 3), 8, pad=True)(first)
    value = layers.BatchNormalization(map_rank=1, normalization_time_constant=200)(value)
    value = cntk.relu(value + first)
    value = layers.MaxPooling((3, 3), strides=4, pad=True)(value)
    value = layers.Dense(16, activation=cntk.relu)(value)
    return layers.Dense(3)(value)


def main():
    """Write the ONNX file and what CNTK answers."""
    out = Path(sys.argv[1])
    cntk.device.try_set_default_device(cntk.device.cpu())
    cntk.cntk_py.set_fixed_random_seed(7)
    cntk.cntk_py.force_deterministic_algorithms()
    np.random.seed(7)  # noqa: NPY002  (what the initializers draw from)
    # A name as people give them: neither a file's nor a variable's.
    source = cntk.input_variable((3, SIDE, SIDE), name="picture (RGB)/255")
    target = cntk.input_variable(3)
    scores = network(source)
    loss = cntk.cross_entropy_with_softmax(scores, target)
    learner = cntk.sgd(scores.parameters, cntk.learning_parameter_schedule(0.05))
    trainer = cntk.Trainer(scores, (loss, None), [learner])
    for step in range(STEPS):
        pictures, classes = draw(BATCH, seed=step)
        trainer.train_minibatch({source: pictures, target: np.eye(3, dtype=np.float32)[classes]})
    print("loss", trainer.previous_minibatch_loss_average)
    answer = cntk.softmax(scores, name="likely: 3 classes")
    pictures, classes = draw(6, seed=1000)
    answers = answer.eval({source: pictures})
    answer.save(str(out / "cntk.onnx"), format=cntk.ModelFormat.ONNX)
    np.savez_compressed(str(out / "cntk.npz"), pictures=pictures, classes=classes, answers=answers)
    print("right", float((answers.argmax(axis=1) == classes).mean()))


main()
