"""Reads nodes of OPC UA machines by subscription or in bulk."""
