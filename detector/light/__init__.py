"""Changed light: simulating it, seeing that it is new, and a second head that is blind to it."""

from detector.light import known_light
from detector.light.illumination import LightScatter, light_blind_projection, light_scatter
from detector.light.known_light import KnownLight
from detector.light.light_gate import IN_NEW_LIGHT, AnyHead, LightGated, blind_ratio, head_from, ordinary, tensors_of
from detector.light.relighting import KINDS, SEVERITIES, Kind, Severity, draw_light, random_light, relit

__all__ = [
    "IN_NEW_LIGHT",
    "KINDS",
    "SEVERITIES",
    "AnyHead",
    "Kind",
    "KnownLight",
    "LightGated",
    "LightScatter",
    "Severity",
    "blind_ratio",
    "draw_light",
    "head_from",
    "known_light",
    "light_blind_projection",
    "light_scatter",
    "ordinary",
    "random_light",
    "relit",
    "tensors_of",
]
