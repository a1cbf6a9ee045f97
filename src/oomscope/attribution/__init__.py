"""Who holds it: the only place that adds."""
