"""What was seen and what it means, as frozen values: no reading, no adding, no printing."""
