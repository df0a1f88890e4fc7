"""The root of every error that Forewarn raises for a person to read."""


class ForewarnError(Exception):
    """Something is wrong outside our code: the message says what, where, why and the mend.

    The command line prints the message without a stack trace and leaves with `exit_code`.
    """

    exit_code = 1
