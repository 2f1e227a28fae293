"""``defectvision camera``: one camera's frames to a server, a client of its public interfaces only."""

from server.camera_process.process import add_parser

__all__ = ["add_parser"]
