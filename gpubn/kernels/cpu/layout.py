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

OPERATION, N, D, H, KIND, OPTION, FIRST, LAST = range(8)
"""The columns of a row: rows, columns and outputs of the arrays; the activation; what else the
operation has to know; the part of the columns that is worked on."""
ARRAYS, EACH, MOST = 8, 3, 9
"""The column at which arrays begin; numbers of each: its address, the bytes from one replica to the
next and those from one column to the next, 0 where it has none; the most arrays that there are."""
COLUMNS = ARRAYS + EACH * MOST

LINEAR, RELU, TANH, SIGMOID = range(4)
KINDS = {"linear": LINEAR, "relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
