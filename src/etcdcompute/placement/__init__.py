"""Placement: what fits where, and who has claimed what. OpenStack's API on a graph."""
