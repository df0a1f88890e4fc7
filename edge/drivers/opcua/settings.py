"""How to reach an OPC UA server, and which nodes a machine's tags are."""

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from edge.drivers.opcua.browse_paths import Step, parse_browse_path
from edge.drivers.opcua.node_ids import NodeIdText, parse_node_id
from edge.drivers.tags import PathOfMachine, Tags, TagSettings
from models.settings import ConfigPath, Secret, Settings

if TYPE_CHECKING:
    from edge.drivers.opcua.driver import OpcuaDriver


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "opc.tcp" or not parts.hostname:
        raise ValueError(f"{url!r} is not opc.tcp://host:port, for instance opc.tcp://192.168.0.10:4840")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "a user and password do not belong into the url: add user and password: {file: PATH}"
        )
    return url


def is_loopback(url: str) -> bool:
    """Return whether the server is on this computer: there is no network to read along on."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_node_id(text: str) -> str:
    parse_node_id(text)
    return text


def _check_browse_path(text: str) -> str:
    parse_browse_path(text)
    return text


def _check_pair(name: str, key_name: str, key: Path | None, info: ValidationInfo) -> Path | None:
    if name in info.data and (info.data[name] is None) != (key is None):
        missing, given = (key_name, name) if key is None else (name, key_name)
        raise ValueError(f"there is a {given} without a {missing}: add {missing}: PATH")
    return key


class OpcuaTagSettings(TagSettings):
    """One node of the server: `nsu=URI;s=Name` (lasting), `ns=2;s=Name` or `i=2258`; or the path to it.

    `deadband_percent_of_range` is of the node's EURange, by subscription: the server applies it.
    """

    interval_s: float | None = Field(default=None, ge=0.01, le=3600)
    deadband_percent_of_range: float | None = Field(default=None, gt=0, le=100)
    node_id: Annotated[str, AfterValidator(_check_node_id)] | None = None
    browse_path: Annotated[str, AfterValidator(_check_browse_path)] | None = None

    @field_validator("deadband_percent_of_range")
    @classmethod
    def _is_the_only_deadband_here(cls, percent: float | None, info: ValidationInfo) -> float | None:
        others = [name for name in ("deadband", "deadband_percent") if info.data.get(name) is not None]
        if percent is not None and others:
            raise ValueError(f"there is a {others[0]} already: say one of them")
        return percent

    @field_validator("browse_path")
    @classmethod
    def _one_address(cls, path: str | None, info: ValidationInfo) -> str | None:
        if "node_id" in info.data and (info.data["node_id"] is None) == (path is None):
            raise ValueError("say either node_id or browse_path: where the tag is read")
        return path

    @property
    def address(self) -> str:
        """Where the tag is read, as it was written."""
        return self.browse_path or self.node_id or ""

    @property
    def node(self) -> NodeIdText:
        """The node id, taken apart."""
        assert self.node_id is not None  # who has a browse path is not asked
        return parse_node_id(self.node_id)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The browse path, taken apart."""
        return parse_browse_path(self.browse_path) if self.browse_path is not None else ()


class OpcuaSecuritySettings(Settings):
    """How messages are signed and encrypted, and whom we trust.

    `pki` is a folder: our own certificate is made there, and the server's must be trusted there;
    `certificate` and `private_key` name other files for ours, `server_certificate` the only one that the
    server may show.
    """

    policy: Literal["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] = "Basic256Sha256"
    mode: Literal["SignAndEncrypt", "Sign"] = "SignAndEncrypt"
    pki: ConfigPath = ConfigPath("pki")
    server_name: str | None = None
    certificate: ConfigPath | None = None
    private_key: ConfigPath | None = None
    server_certificate: ConfigPath | None = None

    @field_validator("private_key")
    @classmethod
    def _belongs_to_a_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        return _check_pair("certificate", "private_key", key, info)


class OpcuaServerSettings(Settings):
    """How to reach an OPC UA server and get in."""

    url: Annotated[str, AfterValidator(_check_url)]
    timeout_s: float = Field(default=4.0, ge=0.1, le=60)
    user: str | None = None
    password: Secret | None = None
    user_certificate: ConfigPath | None = None
    user_private_key: ConfigPath | None = None
    security: OpcuaSecuritySettings | None = None
    allow_insecure: bool = Field(default=False, validate_default=True)

    @field_validator("password")
    @classmethod
    def _belongs_to_a_user(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if password is not None and info.data.get("user") is None:
            raise ValueError("there is a password without a user: add user")
        return password

    @field_validator("user_private_key")
    @classmethod
    def _belongs_to_a_user_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key is not None and info.data.get("user") is not None:
            raise ValueError("a user logs in with a password or with a certificate: leave out one of them")
        return _check_pair("user_certificate", "user_private_key", key, info)

    @field_validator("allow_insecure")
    @classmethod
    def _insecurity_is_asked_for(cls, allowed: bool, info: ValidationInfo) -> bool:
        if "security" not in info.data:
            return allowed
        if info.data["security"] is None and not allowed:
            raise ValueError(
                "there is no security: anyone on the network could read along or pose as the machine. "
                "Add security: {policy: Basic256Sha256}, "
                "or say allow_insecure: true where the network is closed"
            )
        return allowed


class OpcuaMachineSettings(OpcuaServerSettings):
    """A machine behind an OPC UA server: by subscription (the server tells of changes) or by polling."""

    kind: Literal["opcua"]
    path: PathOfMachine
    mode: Literal["subscription", "poll"] = "subscription"
    interval_s: float = Field(default=1.0, ge=0.01, le=3600)
    publish_s: float | None = Field(default=None, ge=0.01, le=3600)
    report: Literal["updates", "changes"] = "updates"
    queue_max: int | None = Field(default=None, ge=2, le=10_000)
    history: Literal["fill", "off"] = "fill"
    history_h_max: float = Field(default=24.0, gt=0, le=720)
    tags: Tags[OpcuaTagSettings]

    def build(self) -> "OpcuaDriver":
        """Return the driver, not yet connected."""
        # A gateway without OPC UA machines loads no asyncua.
        from edge.drivers.opcua.driver import OpcuaDriver

        return OpcuaDriver(self)
