"""The commands of the command line, one file per group; heavy imports stand inside the functions."""
