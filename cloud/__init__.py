"""What runs beside the database: ingester, stores, watcher, alerts, notifiers and the console."""
