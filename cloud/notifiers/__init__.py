"""The shelf of notifiers: what every channel promises, and the list of them."""
