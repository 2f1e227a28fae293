"""A reference to lie on: frames turned and shifted so that their parts lie as those taught did.

A part that lies freely is seen from every side: the memory bank fills with the same corner at every angle, and what is
odd at one angle is normal at another. Where a rigid part lies on a plain background, how it lies can be told from a
small grey picture. Its size is never changed: a part that is too large is a defect more often than a camera that moved.

In doubt nothing is moved. A frame without a part, with another one, with half of one, or with one that is turned as
none was that was taught, is inspected as it lies.
"""

from detector.registration.learned import CHOICES, Choice, Motions, Unregistrable, learn
from detector.registration.reference import Alignment, Laid, Moved, Reference, lay
from detector.registration.seen import small_picture

__all__ = [
    "CHOICES",
    "Alignment",
    "Choice",
    "Laid",
    "Motions",
    "Moved",
    "Reference",
    "Unregistrable",
    "lay",
    "learn",
    "small_picture",
]
