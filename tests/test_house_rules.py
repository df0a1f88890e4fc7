"""The rules of the house, checked: sizes, first lines, names, one library per file, broad excepts."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("forewarn", "models", "edge", "cloud")
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
BANNED_WORDS = {
    *("data", "info", "util", "utils", "helper", "helpers", "common", "misc"),
    *("manager", "handler", "process", "do", "tmp"),
}
# aiosmtpd calls it by SMTP's own word; paho and asyncio name theirs so
IMPOSED_NAMES = {"handle_DATA", "loop_misc", "data_received"}
SUPERVISORS = {"edge/agent.py", "cloud/service.py"}
LIBRARY_FILES = {
    "pymodbus": {"edge/drivers/modbus/client.py", "edge/simulator/modbus_server.py"},
    # The driver's login, session, subscription, and what servers say of nodes: one file would be too long.
    "asyncua": {
        *(
            "edge/drivers/opcua/client.py",
            "edge/drivers/opcua/inside.py",
            "edge/drivers/opcua/publishing.py",
            "edge/drivers/opcua/items.py",
            "edge/drivers/opcua/history.py",
            "edge/drivers/opcua/nodes.py",
            "edge/drivers/opcua/subscription.py",
        ),
        *(
            "edge/drivers/opcua/security.py",
            "edge/drivers/opcua/reading.py",
            "edge/simulator/opcua_server.py",
        ),
    },
    "paho": {  # one file would be too long
        "models/link/mqtt.py",
        "models/link/packets.py",
        "models/link/shortcut.py",
    },
    "influxdb_client": {"cloud/stores/influx_server.py"},
    "zstandard": {"cloud/stores/columns.py"},
    # What models are signed with, what a link and an OPC UA server are trusted by.
    "cryptography": {
        *("models/anomaly/signing.py", "models/link/certificates.py"),
        *("edge/drivers/opcua/certificates.py", "edge/drivers/opcua/client.py"),
        *("edge/drivers/opcua/pki.py", "edge/drivers/opcua/security.py"),
    },
    "distributed": {"cloud/watch/cluster.py"},
    "pyarrow": {"cloud/parquet_files.py"},
    "ruamel": {"models/settings/loader.py", "models/settings/editing.py"},
    "aiosmtplib": {"cloud/notifiers/email.py"},
    "mjml": {"cloud/notifiers/letter.py"},
    "matplotlib": {"cloud/notifiers/plot.py"},
    "apprise": {"cloud/notifiers/apprise.py"},
    "uvicorn": {"cloud/console/server.py"},
    "prometheus_client": {"cloud/metrics.py"},
    "aiosmtpd": {"forewarn/demo/mail_sink.py"},
    "iotcore": {"forewarn/demo/broker.py"},
    "psutil": {"forewarn/demo/memory.py"},
}


def list_files(*patterns: str) -> list[Path]:
    """Return the files that git knows or would add."""
    shown = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in shown.stdout.splitlines() if (ROOT / name).is_file()]


PYTHON_FILES = list_files("*.py")
OURS = [file for file in PYTHON_FILES if file.relative_to(ROOT).parts[0] in PACKAGES]


def name_of(file: Path) -> str:
    """Return the path of a file inside the project."""
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", PYTHON_FILES, ids=name_of)
def test_a_file_is_short_and_says_what_it_is_for(file: Path) -> None:
    """A file is at most 300 lines, opens with one line of purpose; a function is at most 50 lines."""
    text = file.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= FILE_LINES_MAX
    purpose = ast.get_docstring(tree)
    assert purpose, "the file does not say what it is for"
    assert purpose.splitlines()[0].strip()
    long = [
        f"{node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize("file", OURS, ids=name_of)
def test_names_are_the_fields_words(file: Path) -> None:
    """No module, class or function is named after nothing in particular."""
    names = [file.stem] + [
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name not in IMPOSED_NAMES
    ]
    said = {name: set(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)) for name in names}
    banned = [name for name, words in said.items() if {word.lower() for word in words} & BANNED_WORDS]
    assert not banned


def imported_libraries(file: Path) -> set[str]:
    """Return the top-level names that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("file", OURS, ids=name_of)
def test_one_file_knows_one_outside_library(file: Path) -> None:
    """pymodbus is known in the Modbus driver, asyncua in the OPC UA driver, and so on."""
    strayed = {
        library
        for library, homes in LIBRARY_FILES.items()
        if library in imported_libraries(file) and name_of(file) not in homes
    }
    assert not strayed


@pytest.mark.parametrize("file", OURS, ids=name_of)
def test_only_a_supervisor_catches_everything(file: Path) -> None:
    """`except Exception` (or wider) stands in two files."""
    broad = [
        node.lineno
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    assert not broad or name_of(file) in SUPERVISORS


def test_nothing_names_a_registry_or_a_folder_of_one_machine() -> None:
    """The repository can be built anywhere."""
    registries = ("pythonhosted" + ".org", "pypi" + ".org", "registry." + "npmjs", "deb.debian" + ".org")
    places = re.compile(r"(^|[\s\"'=])/(work|farm|root|home)/")
    for file in list_files():
        text = file.read_bytes().decode("utf-8", "replace")
        assert not [word for word in registries if word in text], name_of(file)
        assert not places.search(text), name_of(file)
