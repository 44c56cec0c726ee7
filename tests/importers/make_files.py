"""Writes `files/*.tflite`: what TensorFlow's converter really emits. Needs tensorflow; run by hand when a case is added:

    pip install tensorflow==2.21.0 && python tests/importers/make_files.py

The nets are tiny and untrained, the calibration data random: these files are about the format, not about accuracy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent / "files"
K = tf.keras
L = tf.keras.layers


def cnn() -> Any:
    """Convolution, batch norm, relu6, depthwise, max pooling with an odd size, flatten, dense, softmax."""
    x = y = K.Input((9, 7, 3))
    y = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(y)
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    y = L.ReLU()(L.DepthwiseConv2D(3, padding="same")(y))
    y = L.MaxPool2D(2, padding="same")(y)
    return K.Model(x, L.Dense(4, activation="softmax")(L.Flatten()(y)))


def two_in_two_out() -> Any:
    """Two inputs, a residual add, two outputs of which one also feeds on."""
    a, b = K.Input((8, 8, 4), name="a"), K.Input((8, 8, 4), name="b")
    s = L.Add()([L.Conv2D(4, 1)(a), b])
    return K.Model([a, b], [L.GlobalAveragePooling2D()(s), s])


def reshape_open_batch() -> Any:
    """With an open batch the converter computes the target of a reshape at run time: SHAPE, STRIDED_SLICE, PACK."""
    x = K.Input((16,))
    y = L.Reshape((4, 4, 2))(L.Dense(32, activation="relu")(x))
    return K.Model(x, L.Flatten()(L.Conv2D(3, 3)(y)))


def padded() -> Any:
    """An explicit pad, a valid convolution with stride 2, average pooling, a dilated convolution."""
    x = K.Input((10, 10, 2))
    y = L.Conv2D(4, 3, strides=2)(L.ZeroPadding2D(((0, 1), (0, 1)))(x))
    y = L.Conv2D(4, 2, dilation_rate=2)(y)
    return K.Model(x, L.AveragePooling2D(3, strides=1)(y))


def zoo() -> Any:
    """The operators beyond those of plain convolutional nets."""
    x = K.Input((8, 8, 4), batch_size=1)
    a, b = L.Lambda(lambda v: tf.split(v, 2, axis=-1), output_shape=[(8, 8, 2), (8, 8, 2)])(x)
    a = L.Multiply()([L.LeakyReLU(0.1)(a), L.Activation("sigmoid")(b)])
    b = L.Subtract()([L.Activation("tanh")(b), L.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(a)])
    y = L.Concatenate()([L.Maximum()([a, b]), L.Minimum()([a, b])])
    y = L.Activation("hard_swish")(L.Conv2DTranspose(6, 3, strides=2, padding="same")(y))
    y = L.Lambda(lambda v: v[:, 1:14:2, ::-1, :4], output_shape=(7, 16, 4))(y)
    y = L.Lambda(lambda v: tf.image.resize(v, (14, 16), method="nearest"), output_shape=(14, 16, 4))(y)
    y = L.Permute((2, 1, 3))(L.UpSampling2D((1, 2))(y))
    y = L.Lambda(lambda v: tf.pad(v, [[0, 0], [1, 0], [0, 2], [0, 0]], constant_values=0.5), output_shape=(33, 16, 4))(y)
    return K.Model(x, L.Lambda(lambda v: tf.squeeze(v, 1), output_shape=(16, 3))(L.Conv2D(3, (33, 1))(y)))


def upsampled() -> Any:
    """With an open batch the converter computes the height of an upsampled image at run time too."""
    x = K.Input((4, 4, 2))
    return K.Model(x, L.Conv2D(2, 3)(L.UpSampling2D(2)(x)))


def wide() -> Any:
    """Enough weights for the converter to quantise them on their own (it leaves small tensors in float)."""
    x = K.Input((32,))
    return K.Model(x, L.Dense(64)(x))


def looping() -> Any:
    """A loop: its body is a second subgraph."""
    x = K.Input((4,), batch_size=1)

    def body(i: Any, v: Any) -> Any:
        return i + 1, v * 0.5 + tf.reduce_sum(v)

    def repeat(v: Any) -> Any:
        return tf.while_loop(lambda i, v: i < 3 + tf.cast(tf.reduce_sum(v) > 9, tf.int32), body, (0, v))[1]

    return K.Model(x, L.Lambda(repeat)(x))


def converted(model: Any, *, quantize: str = "int8", edges: Any = tf.int8, per_channel: bool = True) -> bytes:
    """The file for a Keras model; `quantize` is "int8", "16x8", "float", "hybrid" or "float16"."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    generator = np.random.default_rng(1)

    def samples() -> Any:
        for _ in range(40):
            yield [generator.normal(0.2, 1, (1, *x.shape[1:])).astype(np.float32) for x in model.inputs]

    if quantize != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize in ("int8", "16x8"):
        converter.representative_dataset = samples
        ops = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        if quantize == "16x8":
            ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [ops]
        if quantize == "int8":
            converter.inference_input_type = converter.inference_output_type = edges
    converter._experimental_disable_per_channel = not per_channel
    return bytes(converter.convert())


FILES: dict[str, Callable[[], bytes]] = {
    "cnn_int8": lambda: converted(cnn()),
    "cnn_float_edges": lambda: converted(cnn(), edges=tf.float32),
    "cnn_uint8_edges": lambda: converted(cnn(), edges=tf.uint8),
    "cnn_per_tensor": lambda: converted(cnn(), per_channel=False),
    "cnn_float": lambda: converted(cnn(), quantize="float"),
    "wide_hybrid": lambda: converted(wide(), quantize="hybrid"),
    "cnn_float16": lambda: converted(cnn(), quantize="float16"),
    "cnn_16x8": lambda: converted(cnn(), quantize="16x8"),
    "two_in_two_out": lambda: converted(two_in_two_out()),
    "two_in_two_out_float_edges": lambda: converted(two_in_two_out(), edges=tf.float32),
    "reshape_open_batch": lambda: converted(reshape_open_batch()),
    "padded": lambda: converted(padded()),
    "zoo": lambda: converted(zoo()),
    "upsampled_open_batch": lambda: converted(upsampled()),
    "looping": lambda: converted(looping(), quantize="float"),
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FILES:
        K.utils.set_random_seed(7)
        (FOLDER / f"{name}.tflite").write_bytes(FILES[name]())
        print(name, (FOLDER / f"{name}.tflite").stat().st_size, "bytes")
