"""A PostgreSQL and stores of objects for the plant's tests."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.plant import StoreAddress
from tests.server.records.conftest import address, postgresql, postgresql_or_none

__all__ = ["address", "postgresql", "postgresql_or_none"]


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 that keeps objects in memory (moto)."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> StoreAddress:
    """A new bucket of it, that this process may use."""
    import botocore.session

    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "line",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    name = f"plant-{secrets.token_hex(4)}"
    botocore.session.get_session().create_client("s3", endpoint_url=s3).create_bucket(Bucket=name)
    return StoreAddress.parse(f"s3://{name}/works/two")


@pytest.fixture
def mounted(tmp_path: Path) -> StoreAddress:
    """A folder that all gateways mount."""
    return StoreAddress.parse(f"file://{tmp_path}/mounted")


@pytest.fixture
def store(request: pytest.FixtureRequest) -> StoreAddress:
    """A store; of each kind where a test says so by ``BOTH``."""
    found: StoreAddress = request.getfixturevalue(getattr(request, "param", "mounted"))
    return found
