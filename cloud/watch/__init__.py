"""From the store to the alert book: windows, scores, states, training."""
