"""Grids of Configs, and carrying them out: from a Config to rows in the store."""
