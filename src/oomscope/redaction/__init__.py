"""Names of machines, people and work taken out of what is given away."""
