"""HTTP: routes by subject, uploads, page files, phones, and HTTP with bounds."""

from server.web.answers import ERRORS, answer_error, answer_http_error
from server.web.archived import Archived
from server.web.audit import AuditLog
from server.web.backups import Backups
from server.web.bounded_http import BoundedHTTP
from server.web.bounded_websocket import BoundedWebSocket
from server.web.calibrate import Calibrate
from server.web.calibration_drafts import CalibrationDrafts
from server.web.camera_list import CameraList
from server.web.connection_check import ConnectionCheck
from server.web.connections import Connections
from server.web.content_policy import content_policy
from server.web.corrections import Corrections, Saying
from server.web.door import Door
from server.web.frames import Frames
from server.web.health import Health, Warns
from server.web.held import Held
from server.web.history import History
from server.web.kiosk import Kiosk
from server.web.me import Me
from server.web.metrics import Metrics
from server.web.numbers import LineNumbers
from server.web.openapi import Documents
from server.web.over_websocket import ApiSocket
from server.web.pace import Turns
from server.web.pages import Pages
from server.web.phone import Phone, phone_url
from server.web.predict import Predict
from server.web.recipes import Recipes
from server.web.report import ShiftReport
from server.web.sessions import Sessions
from server.web.settings_list import SettingsList
from server.web.sink_list import SinkList
from server.web.stream_list import StreamList
from server.web.teach import Teach
from server.web.tokens import Tokens
from server.web.uploads import uploads_held
from server.web.users import Users

__all__ = [
    "ERRORS",
    "ApiSocket",
    "Archived",
    "AuditLog",
    "Backups",
    "BoundedHTTP",
    "BoundedWebSocket",
    "Calibrate",
    "CalibrationDrafts",
    "CameraList",
    "ConnectionCheck",
    "Connections",
    "Corrections",
    "Documents",
    "Door",
    "Frames",
    "Health",
    "Held",
    "History",
    "Kiosk",
    "LineNumbers",
    "Me",
    "Metrics",
    "Pages",
    "Phone",
    "Predict",
    "Recipes",
    "Saying",
    "Sessions",
    "SettingsList",
    "ShiftReport",
    "SinkList",
    "StreamList",
    "Teach",
    "Tokens",
    "Turns",
    "Users",
    "Warns",
    "answer_error",
    "answer_http_error",
    "content_policy",
    "phone_url",
    "uploads_held",
]
