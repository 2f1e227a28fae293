"""Showing good parts until a detector has learned them; telling it what was good and what was bad."""
