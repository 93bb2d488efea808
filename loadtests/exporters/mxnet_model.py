"""Trains a small network with MXNet and lets MXNet's own exporter write it as ONNX; see README.md beside this file.

python mxnet_model.py DIRECTORY
"""

import os
import sys
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MXNET_ENGINE_TYPE="NaiveEngine")  # the same sums in the same order each time

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn
from patterns import SIDE, draw

STEPS, BATCH = 60, 24


def network():
    """Convolution and batch normalisation, a branch that is added, pools, dense, softmax."""
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(8, 3, padding=1),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.MaxPool2D(2),
        nn.Conv2D(16, 3, padding=1, strides=2),
        nn.BatchNorm(),
        nn.LeakyReLU(0.1),
        nn.AvgPool2D(2),
        nn.Flatten(),
        nn.Dense(3),
        nn.HybridLambda("softmax"),
    )
    net.initialize(mx.init.Xavier())
    net.hybridize()
    return net


def train(net):
    """A few steps: the answers have to differ from picture to picture."""
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    for step in range(STEPS):
        pictures, classes = draw(BATCH, seed=step)
        with autograd.record():
            likely = mx.nd.pick(net(mx.nd.array(pictures)), mx.nd.array(classes))
            loss = -mx.nd.log(likely + 1e-7).mean()
        loss.backward()
        trainer.step(1)
    print("loss", float(loss.asscalar()))


def main():
    """Write two ONNX files, with a fixed and with a free batch, and what MXNet answers."""
    out = Path(sys.argv[1])
    mx.random.seed(7)
    np.random.seed(7)  # noqa: NPY002  (what the initializers draw from)
    net = network()
    train(net)
    pictures, classes = draw(6, seed=1000)
    answers = net(mx.nd.array(pictures)).asnumpy()
    symbol = str(out / "mxnet")
    net.export(symbol)
    for name, words in (
        ("mxnet-fixed", {}),
        ("mxnet-free", {"dynamic": True, "dynamic_input_shapes": [("N", 3, SIDE, SIDE)]}),
    ):
        shape = (2, 3, SIDE, SIDE)
        mx.onnx.export_model(
            symbol + "-symbol.json",
            symbol + "-0000.params",
            [shape],
            [np.float32],
            str(out / (name + ".onnx")),
            **words,
        )
    for left in (symbol + "-symbol.json", symbol + "-0000.params"):
        Path(left).unlink()
    np.savez_compressed(str(out / "mxnet.npz"), pictures=pictures, classes=classes, answers=answers)
    print("right", float((answers.argmax(axis=1) == classes).mean()))


main()
