"""Keeps the logs of protocol libraries to themselves."""

import logging


def silence(library: str) -> None:
    """Let `library` say nothing: what it says per attempt, with stack traces, the poller says once per loss.

    A level that somebody has set for the library's logger stands.
    """
    logger = logging.getLogger(library)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
