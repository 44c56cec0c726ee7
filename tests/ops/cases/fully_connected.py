"""FULLY_CONNECTED."""

from case import Case, activation, bias, case, fitting_scale, weights

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


CASES = {
    "per_channel": dense((1, 40), (10, 40)),
    "per_tensor": dense((1, 40), (10, 40), per_channel=False),
    # The float32 product of these scales and their product in double give different multipliers.
    **{f"float_product_{i}": dense((1, 30), (40, 30), per_channel=False, x_scale=0.0173 * i, seed=i) for i in range(1, 6)},
    "flattens_image": dense((1, 3, 4, 5), (7, 60)),
    "rows": dense((1, 6, 12), (5, 12), (1, 6, 5)),
    "rows_of_rank2": dense((6, 12), (5, 12), (6, 5)),
    "rows_flattened": dense((1, 6, 12), (5, 12), (6, 5)),
    "one_input": dense((1, 1), (4, 1)),
    "one_output_per_channel": dense((1, 20), (1, 20)),
    "one_output_per_tensor": dense((1, 20), (1, 20), per_channel=False),
    "no_bias": dense((1, 40), (10, 40), reach=0),
    "zero_points_low": dense((1, 40), (10, 40), zero=-128, y_zero=-128),
    "zero_points_high": dense((1, 40), (10, 40), zero=127, y_zero=127),
    "relu": dense((1, 40), (10, 40), activation="relu"),
    "relu6": dense((1, 40), (10, 40), activation="relu6", y_scale=0.05, y_zero=-128),
    "saturating": dense((1, 40), (10, 40), y_scale=1e-3),
    "large_bias": dense((1, 40), (10, 40), reach=2**30),
    "wide": dense((1, 640), (128, 640), per_channel=False),
    "beyond_float32": dense((1, 1200), (6, 1200)),
}
