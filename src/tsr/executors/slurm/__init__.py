"""SLURM: every missing stage a job, tied by dependencies. Built on submitit."""
