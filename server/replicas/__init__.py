"""Detector replicas: processes on this and other machines that look at frames, each at one frame at a time."""

from server.replicas.choice import ReplicasWanted
from server.replicas.cluster import NoCluster
from server.replicas.ray_cluster import RayCluster, cluster_looked_at
from server.replicas.replicas import Replicas

__all__ = ["NoCluster", "RayCluster", "Replicas", "ReplicasWanted", "cluster_looked_at"]
