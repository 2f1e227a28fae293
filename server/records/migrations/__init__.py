"""How the tables of older versions become today's, and what is put aside before."""

from server.records.migrations.steps import (
    NewerSchema,
    NoWayBack,
    goal_back,
    is_behind,
    migrate,
    migrate_back,
    require_known,
)

__all__ = ["NewerSchema", "NoWayBack", "goal_back", "is_behind", "migrate", "migrate_back", "require_known"]
