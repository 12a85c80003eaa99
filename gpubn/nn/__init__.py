"""The network: layers, normalisations, model, optimiser, training, with R replicas at once."""
