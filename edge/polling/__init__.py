"""From the drivers to the outbox: polling on schedule, the tags' rules, clocks, batches."""
