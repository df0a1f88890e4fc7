"""From the broker to the store: intake, sorting, ledger, receipts, dead letters."""
