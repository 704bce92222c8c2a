"""The scheduler: gives every instance that has no host one that fits, and relays what clients change."""
