"""Values printed in the documents' own figures and text, quoted as facts, to stand beside ours.

They are kept as they are printed: their digits tell what range of numbers each stands for.
"""

from decimal import Decimal
from math import log

ACTIVATION_VAR = {
    "none": {0: "1.0038", 19: "3.46e-44", 20: "1.90e-46"},
    "after": {4: "1.0", 19: "1.0", 20: "1.0"},
}
"""Document A: normalisation -> layer -> variance of the activations."""

WEIGHT_GRAD_VAR = {
    "none": {2: "3.50e-35", 3: "2.83e-35", 4: "2.05e-35", 20: "2.37e-35"},
    "after": {1: "16.4", 2: "27.4"},
}
"""Document A: normalisation -> layer, as the document numbers it -> variance of the gradients."""

FIRST_LOSS = (3.6, 3.8)
"""Document D: range of the first loss under the first initialisation."""
FINAL_LOSS_FIRST_INIT = "2.3"
FINAL_LOSS_SCALED = "0.3"
FINAL_TRAIN_LOSS_BATCHNORM = "0.21"
FINAL_TEST_LOSS_BATCHNORM = "0.18"


def digits_range(printed: str) -> tuple[float, float]:
    """The numbers that a printed one stands for: 16.4 for 16.35 to 16.45."""
    exponent = Decimal(printed).as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5).scaleb(exponent - 1)
    return float(Decimal(printed) - half), float(Decimal(printed) + half)


def ideal_first_loss(classes: int) -> float:
    """The loss of a guess that favours no class, in nats."""
    return log(classes)
