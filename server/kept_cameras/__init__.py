"""Cameras that were added on the page: kept in the data directory, run at once, and tried before."""

from server.kept_cameras.cameras_file import LARGEST_SIDE, LONGEST_SOURCE, MOST, cameras_of, check_addable
from server.kept_cameras.kept_cameras import DOCUMENTS, CannotAdd, KeptCameras, Stuck, why_not_run
from server.kept_cameras.trials import Trials, TrialsBusy

__all__ = [
    "DOCUMENTS",
    "LARGEST_SIDE",
    "LONGEST_SOURCE",
    "MOST",
    "CannotAdd",
    "KeptCameras",
    "Stuck",
    "Trials",
    "TrialsBusy",
    "cameras_of",
    "check_addable",
    "why_not_run",
]
