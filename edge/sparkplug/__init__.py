"""Sparkplug B 3.0: the gateway as an edge node, its machines as devices, for whatever host listens."""
