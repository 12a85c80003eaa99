"""B13: what dropout adds with and without batch normalization, by the place of either."""

import math

from mnist import batches, stream, subset, to_float
from nets import Net, best_test_loss, copies, he

RATES = (0.1, 0.3)
STEPS = 1000

AFTER, BEFORE, PLAIN = ("relu", "norm"), ("norm", "relu"), ("relu",)
END = ("relu", "drop")
ARMS = {
    "none": [PLAIN, PLAIN],
    "none_drop": [END, END],
    "none_drop_last": [PLAIN, END],
    "after": [AFTER, AFTER],
    "before": [BEFORE, BEFORE],
    "direct_after": [("relu", "drop", "norm")] * 2,
    "direct_before": [("drop", "norm", "relu")] * 2,
    "end_before": [("norm", "relu", "drop")] * 2,
    "last_before": [BEFORE, ("norm", "relu", "drop")],
}
# quantity: with both, batch normalization alone, dropout alone
CASES = {
    "direct_after": ("direct_after", "after", "none_drop"),
    "direct_before": ("direct_before", "before", "none_drop"),
    "end_before": ("end_before", "before", "none_drop"),
    "last_before": ("last_before", "before", "none_drop_last"),
}


def b13(seed: int, data) -> dict[str, float]:
    """Return what dropout costs with batch normalization less what it costs without, in logs."""
    train_set = subset(data["train_x"], data["train_y"], 1024, stream(seed, "b13", "train"))
    test = subset(data["test_x"], data["test_y"], 2000, stream(seed, "b13", "test"))
    test = to_float(test[0]), test[1]
    weights = copies(he([784, 64, 64, 10], stream(seed, "b13", "init")), len(RATES))
    logs = {}
    for name, orders in ARMS.items():
        net = Net(weights, orders, dropout_stream=stream(seed, "b13", "drop", name))
        feed = batches(*train_set, 32, stream(seed, "b13", "order"))
        logs[name] = math.log(best_test_loss(net, feed, RATES, STEPS, test))
    found = {
        name: (logs[both] - logs[norm]) - (logs[drop] - logs["none"])
        for name, (both, norm, drop) in CASES.items()
    }
    return found | {f"loss_{name}": math.exp(value) for name, value in logs.items()}
