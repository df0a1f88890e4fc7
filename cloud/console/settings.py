"""Where the console listens, and under which address people reach it."""

from pydantic import Field, HttpUrl

from models.settings import Settings


class ConsoleSettings(Settings):
    """The web console. It listens on this machine only, unless `host` says otherwise.

    `public_url` is the address that people use (a mail's link to its alert begins with it).
    """

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    public_url: HttpUrl = HttpUrl("http://127.0.0.1:8080")
