"""What carries out a plan: the local executor here; SLURM has its place beside it."""
