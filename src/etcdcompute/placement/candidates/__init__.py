"""From request groups to allocation candidates: pure, lazy, no I/O."""
