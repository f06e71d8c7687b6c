"""A site that descriptions can be made of, with nothing behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kappa.stack.part import FlinkSoftware, Secrets, Site, Software
from kappa.stack.ports import ChosenPorts

SECRETS = Secrets(*(f"secret-{number}" for number in range(4)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    programs = Path("/opt")
    return Site(
        folder=tmp_path,
        cluster_id="AAAAAAAAAAAAAAAAAAAAAA",
        ports=ChosenPorts(),
        secrets=SECRETS,
        software=Software(
            kafka=programs / "kafka",
            registry=programs / "registry",
            gateway=programs / "versitygw",
            postgres=programs / "postgres",
            flink=FlinkSoftware(
                home=programs / "pyflink",
                python=programs / "venv" / "bin" / "python",
                modules=(programs / "src", programs / "venv" / "lib"),
                modules_hash="0123456789ab",
                connectors=programs / "flink",
                bridge=programs / "bridge",
                plugins=programs / "flink-plugins",
            ),
        ),
    )
