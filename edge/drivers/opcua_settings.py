"""How to reach an OPC UA server, and which nodes a machine's tags are."""

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from edge.drivers.node_ids import NodeIdText, parse_node_id
from edge.drivers.tags import PathOfMachine, Tags, TagSettings
from models.settings import ConfigPath, Secret, Settings

if TYPE_CHECKING:
    from edge.drivers.opcua_driver import OpcuaDriver


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "opc.tcp" or not parts.hostname:
        raise ValueError(f"{url!r} is not opc.tcp://host:port, for instance opc.tcp://192.168.0.10:4840")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "a user and password do not belong into the url: add user and password: {file: PATH}"
        )
    return url


def _check_node_id(text: str) -> str:
    parse_node_id(text)
    return text


class OpcuaTagSettings(TagSettings):
    """One node of the server: `nsu=URI;s=Name` (lasting), `ns=2;s=Name` or `i=2258`."""

    node_id: Annotated[str, AfterValidator(_check_node_id)]

    @property
    def node(self) -> NodeIdText:
        """The node id, taken apart."""
        return parse_node_id(self.node_id)


class OpcuaSecuritySettings(Settings):
    """Basic256Sha256, signed and encrypted: our certificate and key, and the one certificate to trust."""

    policy: Literal["Basic256Sha256"] = "Basic256Sha256"
    certificate: ConfigPath
    private_key: ConfigPath
    server_certificate: ConfigPath


class OpcuaServerSettings(Settings):
    """How to reach an OPC UA server and get in."""

    url: Annotated[str, AfterValidator(_check_url)]
    timeout_s: float = Field(default=4.0, ge=0.1, le=60)
    user: str | None = None
    password: Secret | None = None
    security: OpcuaSecuritySettings | None = None
    allow_insecure: bool = Field(default=False, validate_default=True)

    @field_validator("password")
    @classmethod
    def _belongs_to_a_user(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if password is not None and info.data.get("user") is None:
            raise ValueError("there is a password without a user: add user")
        return password

    @field_validator("allow_insecure")
    @classmethod
    def _insecurity_is_asked_for(cls, allowed: bool, info: ValidationInfo) -> bool:
        if "security" not in info.data:
            return allowed
        if info.data["security"] is None and not allowed:
            raise ValueError(
                "there is no security: anyone on the network could read along or pose as the machine. "
                "Add security: {certificate: PATH, private_key: PATH, server_certificate: PATH}, "
                "or say allow_insecure: true where the network is closed"
            )
        return allowed


class OpcuaMachineSettings(OpcuaServerSettings):
    """A machine behind an OPC UA server: by subscription (the server tells of changes) or by polling."""

    kind: Literal["opcua"]
    path: PathOfMachine
    mode: Literal["subscription", "poll"] = "subscription"
    interval_s: float = Field(default=1.0, ge=0.01, le=3600)
    report: Literal["updates", "changes"] = "updates"
    queue_max: int = Field(default=100, ge=1, le=10_000)
    tags: Tags[OpcuaTagSettings]

    def build(self) -> "OpcuaDriver":
        """Return the driver, not yet connected."""
        # A gateway without OPC UA machines loads no asyncua.
        from edge.drivers.opcua_driver import OpcuaDriver

        return OpcuaDriver(self)
