"""MAX_POOL_2D."""

from functools import partial

from cases.average_pool2d import pool as any_pool

from pipeline.ops.max_pool2d import MaxPool2d

pool = partial(any_pool, op=MaxPool2d)

CASES = {
    "2x2_stride2": pool((6, 8, 5), (2, 2), stride=(2, 2)),
    "2x2_stride2_odd": pool((7, 9, 5), (2, 2), stride=(2, 2)),
    "2x2_stride2_odd_same": pool((7, 9, 5), (2, 2), stride=(2, 2), same=True),
    "3x3_same": pool((7, 6, 4), (3, 3), same=True),
    "3x3_stride2_same": pool((7, 6, 4), (3, 3), stride=(2, 2), same=True),
    "overlapping": pool((7, 6, 4), (3, 3)),
    "uneven": pool((8, 9, 3), (4, 1), stride=(3, 2)),
    "global": pool((5, 7, 6), (5, 7)),
    "1x1": pool((4, 4, 3), (1, 1)),
    "1x1_stride2": pool((5, 4, 3), (1, 1), stride=(2, 2)),
    "even_kernel_same": pool((7, 5, 3), (4, 2), same=True),
    "relu": pool((6, 6, 4), (2, 2), activation="relu"),
    "relu6": pool((6, 6, 4), (2, 2), activation="relu6", zero=-100),
    "zero_point_low": pool((6, 6, 4), (2, 2), zero=-128, same=True),
    "zero_point_high": pool((6, 6, 4), (2, 2), zero=127, same=True),
    "many_channels": pool((4, 4, 70), (2, 2), stride=(2, 2)),
    "window_over_image": pool((2, 3, 3), (5, 5), same=True),
    "torch_pads": pool((6, 6, 4), (3, 3), pads=(1, 1, 1, 1), stride=(2, 2)),
    "pads_uneven": pool((6, 6, 4), (3, 4), pads=(2, 1, 0, 3), stride=(2, 3)),
    "ceil_mode": pool((6, 6, 4), (3, 3), pads=(0, 1, 0, 1), stride=(2, 2)),
}
