"""The one error of a file that is no recording."""

from models.errors import ForewarnError


class RecordingRejected(ForewarnError):
    """The file is not a table of times and numbers; the message names line, column and the mend."""

    exit_code = 3
