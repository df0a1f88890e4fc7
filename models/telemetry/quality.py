"""Quality of a value: OPC UA status codes (OPC 10000-4, 7.39; numbers of the Foundation's StatusCode.csv)."""

GOOD = 0x00000000
UNCERTAIN = 0x40000000
UNCERTAIN_LAST_USABLE_VALUE = 0x40900000
UNCERTAIN_SUB_NORMAL = 0x40950000
UNCERTAIN_ENGINEERING_UNITS_EXCEEDED = 0x40940000
BAD = 0x80000000
BAD_COMMUNICATION_ERROR = 0x80050000
BAD_DECODING_ERROR = 0x80070000
BAD_TIMEOUT = 0x800A0000
BAD_NO_COMMUNICATION = 0x80310000
BAD_WAITING_FOR_INITIAL_DATA = 0x80320000
BAD_NODE_ID_UNKNOWN = 0x80340000
BAD_OUT_OF_RANGE = 0x803C0000
BAD_NOT_SUPPORTED = 0x803D0000
BAD_TYPE_MISMATCH = 0x80740000
BAD_CONFIGURATION_ERROR = 0x80890000
BAD_NOT_CONNECTED = 0x808A0000
BAD_DEVICE_FAILURE = 0x808B0000
BAD_SENSOR_FAILURE = 0x808C0000
BAD_RESOURCE_UNAVAILABLE = 0x80040000

_SEVERITY_MASK = 0xC0000000

_NAMES = {
    code: "".join(word.capitalize() for word in name.split("_"))
    for name, code in globals().items()
    if isinstance(code, int) and not name.startswith("_")
}


def is_good(code: int) -> bool:
    """Return whether the value may be used without a second thought."""
    return code & _SEVERITY_MASK == GOOD


def is_bad(code: int) -> bool:
    """Return whether the value must not be used."""
    return code & _SEVERITY_MASK >= BAD


def describe(code: int) -> str:
    """Return the name of a status code as engineers know it: `BadNodeIdUnknown`, or `Bad (0x80AB0000)`."""
    if code in _NAMES:
        return _NAMES[code]
    severity = "Bad" if is_bad(code) else "Good" if is_good(code) else "Uncertain"
    return f"{severity} (0x{code:08X})"
