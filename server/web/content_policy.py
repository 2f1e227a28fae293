"""What a page of this server may load, and who may frame it."""

from __future__ import annotations

from collections.abc import Collection


def content_policy(framed_by: Collection[str] = ()) -> str:
    """A ``Content-Security-Policy``: everything from this server alone, framed by pages of these origins only."""
    frames = " ".join(["'self'", *framed_by]) if framed_by else "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        f"worker-src 'self'; media-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors {frames}"
    )
