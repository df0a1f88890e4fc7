"""The front door: the command line, the demo and the doctor; nothing else knows all three packages."""

__version__ = "0.1.0"
