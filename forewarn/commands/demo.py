"""`forewarn demo`."""


def demo() -> None:
    """demo"""
