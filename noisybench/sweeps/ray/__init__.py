"""Everything that knows Ray: a sweep on a Ray cluster."""
