"""What the watch and its processes say to each other: a stretch behind its length, a line of JSON back."""

from __future__ import annotations

import msgspec

from oomscope.model.notice import OomNotice
from oomscope.model.usage_sample import Grower, UsageSample

LENGTH_BYTES = 4
WHOLE = "--whole"  # the text of it all is wanted, too


class Answered(msgspec.Struct):
    """What is answered to one stretch: its events, or why there is none (`failure`)."""

    notices: list[OomNotice]
    failure: str = ""


class TakenSample(msgspec.Struct):
    """What the process that takes a reading answers: it, what grew so far, and why the history could not be kept."""

    sample: UsageSample
    growers: list[Grower]
    failure: str = ""
