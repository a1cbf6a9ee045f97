"""Sources to Evidence to Verdict: the functions of the library, and how one input is read."""
