"""How good a judge is: `python -m tsr.judge`."""
