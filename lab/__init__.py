"""Real kernels in QEMU, made to run out of memory: the ground truth of the tests. Nothing in src/ imports it."""
