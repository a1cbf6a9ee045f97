"""Kernel logs of any collector: which stretches are worth reading, what each line says behind its prefixes."""
