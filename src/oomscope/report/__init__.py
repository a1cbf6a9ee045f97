"""How a Verdict is shown. Nothing is computed here beyond layout, and nothing is read."""
