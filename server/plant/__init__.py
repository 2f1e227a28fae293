"""What the gateways of one plant share: documents in a PostgreSQL, files in a store of objects, and who is told of what
others changed."""

from server.plant.gateways import ListedGateway
from server.plant.link import PlantAway
from server.plant.looking import document_in, listed_in, looked_at
from server.plant.object_store import Listed, ObjectStore, StoreAddress
from server.plant.plant import Plant, PlantError, joined_in

__all__ = [
    "Listed",
    "ListedGateway",
    "ObjectStore",
    "Plant",
    "PlantAway",
    "PlantError",
    "StoreAddress",
    "document_in",
    "joined_in",
    "listed_in",
    "looked_at",
]
