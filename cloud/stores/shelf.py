"""The list of stores: what `store:` in cloud.yaml may be."""

from typing import Annotated

from pydantic import Field

from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.stores.influxdb import InfluxdbStoreSettings

StoreSettings = Annotated[EmbeddedStoreSettings | InfluxdbStoreSettings, Field(discriminator="kind")]
"""Each has `build_writer() -> StoreWriter` and `build_reader() -> StoreReader`. A new store: one line."""
