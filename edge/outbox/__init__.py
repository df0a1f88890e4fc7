"""What the gateway keeps until the cloud says that it is stored."""
