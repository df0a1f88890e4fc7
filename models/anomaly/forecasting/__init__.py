"""Forecasts: how long a machine has left, as an interval, learned from machines that failed."""
