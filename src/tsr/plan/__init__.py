"""The plan: the graph of a sweep before anything runs."""

from tsr.plan.graph import Plan, missing, plan_of

__all__ = ["Plan", "missing", "plan_of"]
