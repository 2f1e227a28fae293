"""Frames in over WebRTC, and what aiortc is adapted with."""

from server.ingest.webrtc.ingest import (
    OFFER_REFUSALS,
    OFFERS,
    Answered,
    OfferRefused,
    WebRTCIngest,
    address_of,
    read_offer,
)

__all__ = ["OFFERS", "OFFER_REFUSALS", "Answered", "OfferRefused", "WebRTCIngest", "address_of", "read_offer"]
