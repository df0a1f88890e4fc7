"""How the gateway is: health, metrics, watchdog, status."""
