"""What can go wrong in the lab, as sentences for whoever runs it.

LabError
├── Missing        the machine lacks a program or a package
│   └── Vanished   Debian has no image of that kind (any more)
├── BuildFailed    a kernel or module did not build
└── GuestFailed    a guest did not do what its scenario asks: hung, crashed, or left something out
"""

from __future__ import annotations


class LabError(Exception):
    """One sentence, and where it helps the last lines that were printed."""


class Missing(LabError):
    """The machine lacks something; the sentence says what to install."""


class Vanished(Missing):
    """Debian has no such image, or has it no more: nobody's fault, and a reason to skip it."""


class BuildFailed(LabError):
    """A kernel or module did not build; the sentence names the log."""


class GuestFailed(LabError):
    """A guest hung, crashed or left something out; the sentence ends with its console's last lines."""
