"""The web console: the plant at a glance, a page per machine, a page per alert."""
