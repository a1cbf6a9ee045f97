"""What user space tools make of the kernel's accounts."""
