"""Cameras that are not a browser: supervised captures, and the ``defectvision camera`` process that sends them."""
