"""Benchmarks on real and simulated machines with labelled failures: protocols, metrics, the page of figures."""
