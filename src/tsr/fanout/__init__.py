"""A sweep fanned out to SLURM: submitted, followed, recorded."""
