"""FULLY_CONNECTED."""

from dataclasses import replace

import numpy as np
from case import Case, activation, bias, case, fitting_scale, telling_bias, weights

from pipeline.ops.fully_connected import FullyConnected


def dense(
    x, w, y=None, *, per_channel=True, zero=3, y_zero=-5, x_scale=0.05, y_scale=None, reach=3000, seed=1, **attributes
) -> Case:
    """x: the input's shape; w (O, I); y: the output's shape, (1, O) unless given; reach: the largest bias, 0 for none."""
    tx = activation(*x, scale=x_scale, zero=zero)
    tw = weights(*w, axis=0 if per_channel else None, seed=seed)
    scale = y_scale or fitting_scale(tx, tw, w[1])
    inputs = ("x", "w", "b") if reach else ("x", "w")
    tensors = {"x": tx, "w": tw, "y": activation(*(y or (1, w[0])), scale=scale, zero=y_zero)}
    op = FullyConnected(inputs=inputs, outputs=("y",), **attributes)
    return case(op, **tensors, **({"b": bias(tx, tw, w[0], reach)} if reach else {}))


def telling(x_scale) -> Case:
    """One weight scale: the scales are multiplied in double."""
    x, w = activation(1, 1, scale=x_scale, zero=0), weights(30, 1, axis=None)
    y = activation(1, 30, scale=x_scale * 0.01 * 1e7, zero=0)
    tensors = {"x": x, "w": w, "b": telling_bias(x, w, y.scale), "y": y}
    return case(FullyConnected(inputs=("x", "w", "b"), outputs=("y",)), **tensors)


def largest_sums() -> Case:
    """Weights all of one sign and size, so many that the sums of outputs 1 and 3 nearly fill 24 bits."""
    made = dense((1, 516), (4, 516), per_channel=False, zero=-128, y_scale=66.0)
    w = np.full((4, 516), 127, np.int8) * np.array([[1], [-1], [-1], [1]], np.int8)
    tensors = {**made.graph.tensors, "w": replace(made.graph["w"], data=w)}
    return replace(made, graph=replace(made.graph, tensors=tensors))


def bias_column() -> Case:
    """A bias of shape (outputs, 1), as some converters leave it."""
    made = dense((2, 16), (8, 16), (2, 8))
    b = made.graph["b"]
    column = replace(b, shape=(8, 1), data=b.data.reshape(8, 1))
    return replace(made, graph=replace(made.graph, tensors={**made.graph.tensors, "b": column}))


CASES = {
    "bias_column": bias_column(),
    "per_channel": dense((1, 40), (10, 40)),
    "per_tensor": dense((1, 40), (10, 40), per_channel=False),
    "product_in_double": telling(0.0173),
    "product_in_double_2": telling(0.0419),
    "flattens_image": dense((1, 3, 4, 5), (7, 60)),
    "rows": dense((1, 6, 12), (5, 12), (1, 6, 5)),
    "rows_of_rank2": dense((6, 12), (5, 12), (6, 5)),
    "rows_flattened": dense((1, 6, 12), (5, 12), (6, 5)),
    "one_input": dense((1, 1), (4, 1)),
    "odd_sizes": dense((1, 7), (3, 7)),
    "one_output_per_channel": dense((1, 20), (1, 20)),
    "one_output_per_tensor": dense((1, 20), (1, 20), per_channel=False),
    "no_bias": dense((1, 40), (10, 40), reach=0),
    "zero_points_low": dense((1, 40), (10, 40), zero=-128, y_zero=-128),
    "zero_points_high": dense((1, 40), (10, 40), zero=127, y_zero=127),
    "zero_points_opposed": dense((1, 40), (10, 40), zero=-128, y_zero=127),
    "relu": dense((1, 40), (10, 40), activation="relu"),
    "relu6": dense((1, 40), (10, 40), activation="relu6", y_scale=0.05, y_zero=-128),
    "saturating": dense((1, 40), (10, 40), y_scale=1e-3),
    "scaled_up": dense((1, 2), (5, 2), y_scale=2e-5, reach=5),
    "large_bias": dense((1, 40), (10, 40), reach=2**30),
    "wide": dense((1, 640), (128, 640), per_channel=False),
    "four_outputs_of_three": dense((1, 3), (4, 3)),
    "five_outputs_of_four": dense((1, 4), (5, 4)),
    "six_outputs_of_nine": dense((1, 9), (6, 9), y_zero=-128),
    "rows_of_thirteen": dense((3, 13), (7, 13), (3, 7), zero=-128, activation="relu"),
    "rows_no_bias": dense((3, 16), (4, 16), (3, 4), zero=127, reach=0, per_channel=False),
    "largest_sums": largest_sums(),
    "beyond_float32": dense((1, 1200), (6, 1200)),
}
