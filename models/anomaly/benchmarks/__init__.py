"""Benchmarks on machines with labelled failures: protocols, metrics, the page of figures."""
