"""The columns of a row of a compiled program.

A row names an operation, its sizes, and the addresses of its arrays in the first replica with the
bytes from one replica to the next.
"""

(
    ACTIVATION,
    ACTIVATION_BACKWARD,
    AFFINE,
    AFFINE_BACKWARD,
    AFFINE_DESCEND,
    BATCH_NORM,
    BATCH_NORM_BACKWARD,
    BATCH_NORM_INFERENCE,
    DROPOUT,
    DESCEND,
    DESCEND_AVERAGED,
    SOFTMAX_CROSS_ENTROPY,
    BEGIN_STEP,
    END_STEP,
) = range(14)
"""The operations."""

OPERATION, N, D, H, KIND, OPTION, PHASE, FIRST, LAST = range(9)
"""The columns of a row: rows, columns and outputs of the arrays; the activation; what else the
operation has to know; its phase, from 1, or 0 for all of it at once; the items of that phase that
are worked on: columns, rows or chunks of rows."""
ARRAYS, EACH, MOST = 9, 3, 10
"""The column at which arrays begin; numbers of each: its address, the bytes from one replica to the
next and those from one item to the next, 0 where a phase counts them; the most arrays there are."""
COLUMNS = ARRAYS + EACH * MOST

CHUNK = 64
"""Rows of which batch norm takes the sums in the dtype of x."""
TOGETHER = 16
"""Columns that one thread takes at least: a line of the cache in float32."""

LINEAR, RELU, TANH, SIGMOID = range(4)
KINDS = {"linear": LINEAR, "relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
