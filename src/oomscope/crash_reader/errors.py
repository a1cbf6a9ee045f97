"""What may go wrong while a dead kernel's memory is read."""


class Unread(Exception):
    """Memory that is not in the dump, or is not mapped, or holds what cannot be."""


class OtherKernel(Exception):
    """The plan is of another kernel than the dump."""


class TimeOver(Exception):
    """What was being done took too long."""
