"""Names of configurations in figures and verdicts."""

INITS = {
    "small": "N(0, 0.01²)",
    "glorot": "Glorot normal",
    "glorot_small": "Glorot normal × 0.01",
    "scaled_normal": "N(0, 0.0577²)",
    "narrow_uniform": "U(±√6/200)",
    "rand_fan_in": "U[0,1) / √fan_in",
    "rand": "U[0,1)",
    "randn_fan_in": "N(0,1) / √fan_in",
    "randn": "N(0,1)",
    "rand_small": "U[0,1) × 0.01",
    "he": "He normal",
}
"""Configuration group init -> how weights are drawn."""

KINDS = {"glorot_normal": "glorot", "he_normal": "he"}
"""init.kind -> the name in `INITS` that it has unless it is changed."""

DATASETS = {
    "mnist": "MNIST",
    "fashion": "Fashion-MNIST, NOT MNIST",
    "digits": "scikit-learn's 8 × 8 digits, NOT MNIST",
}

ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "logistic"}

NETWORKS = {
    "mnist": "1 tanh layer, Glorot",
    "relu_5": "5 ReLU layers, He",
    "relu_20": "20 ReLU layers, He",
    "small_relu_20": "20 ReLU layers, small",
    "tanh_5": "5 tanh layers, Glorot",
    "tanh_20": "20 tanh layers, Glorot",
}
"""Configuration group model -> layers and weights, where a network comes with its weights."""
