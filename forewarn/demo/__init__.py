"""The demo: plant, broker, edge, cloud and mail sink as separate programs, and their story."""
