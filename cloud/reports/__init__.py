"""Reports: what a machine's model knows, promised and found, as one page that needs nothing else."""
