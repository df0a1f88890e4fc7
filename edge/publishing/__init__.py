"""From the outbox to the broker: what goes next, what came back."""
