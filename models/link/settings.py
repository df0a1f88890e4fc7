"""How to reach the MQTT broker."""

from pydantic import Field

from models.settings import ConfigPath, Secret, Settings


class TlsSettings(Settings):
    """TLS to the broker: whose word to trust, and our own certificate for brokers that ask for one."""

    ca_file: ConfigPath | None = None
    certificate_file: ConfigPath | None = None
    key_file: ConfigPath | None = None
    server_name: str | None = None


class BrokerSettings(Settings):
    """The MQTT 5 broker."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password: Secret | None = None
    tls: TlsSettings | None = None
    keepalive_s: int = Field(default=10, ge=2, le=3600)

    @property
    def address(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"
