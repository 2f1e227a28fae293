"""How the tables of older versions become today's, and what is put aside before."""

from server.records.migrations.steps import NewerSchema, is_behind, migrate

__all__ = ["NewerSchema", "is_behind", "migrate"]
