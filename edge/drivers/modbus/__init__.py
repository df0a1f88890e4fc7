"""Reads registers, coils and inputs of Modbus machines in few requests."""
