"""What the edge and the cloud share: the wire contract, settings, the MQTT link and the models."""
