"""What live teaching must know of pictures as they are shown: are they good, at rest, new, and good parts at all?"""

from detector.showing.coverage import LAST, MOST, Coverage, CoverageSummary, Shown
from detector.showing.quality import Quality, fault_of, quality_of
from detector.showing.stillness import Stillness

__all__ = [
    "LAST",
    "MOST",
    "Coverage",
    "CoverageSummary",
    "Quality",
    "Shown",
    "Stillness",
    "fault_of",
    "quality_of",
]
