"""What runs beside the machines: drivers, poller, outbox and publisher."""
