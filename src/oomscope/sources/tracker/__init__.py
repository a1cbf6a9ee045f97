"""What the BPF programs of `oomscope arm` keep in the kernel: their maps decoded, and their rows."""
