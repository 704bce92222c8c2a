"""Measurements: printed side by side, asserted nowhere."""
