"""`forewarn simulate`."""


def simulate() -> None:
    """simulate"""
