"""What the watch and the process that judges say to each other: a stretch behind its length, a line of JSON back."""

from __future__ import annotations

import msgspec

from oomscope.model.notice import OomNotice

LENGTH_BYTES = 4
WHOLE = "--whole"  # the text of it all is wanted, too


class Answered(msgspec.Struct):
    """What is answered to one stretch: its events, or why there is none (`failure`)."""

    notices: list[OomNotice]
    failure: str = ""
