"""What the edge's commands do besides running: read, list, import, print."""
