"""Calibration: from held-out scores to a limit that keeps a promised number of false alarms a month."""
