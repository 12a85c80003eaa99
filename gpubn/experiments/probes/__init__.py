"""Probes: classes that look at a network while it trains. A new one is one class."""
