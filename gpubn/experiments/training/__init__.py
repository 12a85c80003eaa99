"""Experiments that train the network of a configuration and look at it with probes on the way."""
