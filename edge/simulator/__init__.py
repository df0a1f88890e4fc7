"""A plant that wears out: physics, an OPC UA server, a Modbus server, and the replay of recordings."""
