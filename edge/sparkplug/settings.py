"""How the gateway speaks Sparkplug: the section `sparkplug` of its settings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from edge.sparkplug.names import check_id
from models.link import BrokerSettings
from models.settings import Settings

SparkplugId = Annotated[str, AfterValidator(check_id)]
Custody = Literal["cloud", "broker"]


class SparkplugSettings(Settings):
    """The ids under which hosts know this gateway, and who answers for its values.

    `group`: the site of all machines where it is not set; `edge_node`: the gateway's name. With
    `primary_host` nothing is sent while that host application is not online. `custody`: `cloud` where
    Forewarn's cloud answers for the values and hosts get a copy; `broker` where there is no such cloud.
    `metric_names`: in `births` only, values then say an alias, or `always`, for readers that keep no births.
    `hold_bytes_max`: of a copy that waits in memory; `settle_s`: for how long after the broker took a value
    it may have to be sent again; `history_values_per_s`: brokers drop what a slow host does not take in time.
    """

    group: SparkplugId | None = None
    edge_node: SparkplugId | None = None
    primary_host: SparkplugId | None = None
    custody: Custody = "cloud"
    broker: BrokerSettings | None = None
    metric_names: Literal["births", "always"] = "births"
    hold_bytes_max: int = Field(default=32_000_000, ge=1_000_000, le=4_000_000_000)
    history_values_per_s: int = Field(default=20_000, ge=100, le=10_000_000)
    settle_s: float = Field(default=30.0, ge=0, le=3600)

    @field_validator("group")
    @classmethod
    def _is_no_message_type(cls, group: str | None) -> str | None:
        if group == "STATE":
            raise ValueError("'STATE' is where hosts say whether they are online: name the group otherwise")
        return group

    @field_validator("custody")
    @classmethod
    def _has_somebody_to_ask(cls, custody: Custody, info: ValidationInfo) -> Custody:
        if custody == "broker" and info.data.get("primary_host", "") is None:
            raise ValueError(
                "broker needs primary_host: Sparkplug's values travel unacknowledged (QoS 0), so without a "
                "host that says whether it is online they would be deleted while nobody listens"
            )
        return custody
