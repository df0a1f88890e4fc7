"""The list of stores: what `store:` in cloud.yaml may be."""

from cloud.stores.embedded import EmbeddedStoreSettings

StoreSettings = EmbeddedStoreSettings
"""Each has `build_writer() -> StoreWriter` and `build_reader() -> StoreReader`. A new store: one line."""
