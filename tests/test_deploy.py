"""What deploy/ says fits this code. Whether a cluster takes it is for a cluster to say."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from kappa.config import SECTIONS, environment_name

DEPLOY = Path(__file__).parents[1] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
KNOWN = {
    environment_name(section, field.name)
    for section, kind in SECTIONS.items()
    for field in msgspec.structs.fields(kind)
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_image_has_a_version(file: Path) -> None:
    images = re.findall(r"^\s*(?:image|imageName|FROM)(?:: | )(\S+)", file.read_text(), re.MULTILINE)

    assert [image for image in images if not re.search(r":v?\d[\w.-]*$", image)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_setting_is_one(file: Path) -> None:
    named = set(re.findall(r"\bKAPPA_[A-Z_]+\b", file.read_text()))

    assert named <= KNOWN


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_secret_has_a_value(file: Path) -> None:
    text = file.read_text()
    given = re.findall(r"^\s*(\w*(?:PASSWORD|SECRET\w*|ACCESS_KEY\w*))(?:=|: )(\S+)", text, re.MULTILINE)

    assert [name for name, value in given if not value.startswith("${")] == []


def test_no_service_of_the_cluster_is_taken_for_a_setting() -> None:
    """Kubernetes would give each as variables, such as KAPPA_KAFKA_BOOTSTRAP_SERVICE_HOST."""
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "kappa.yaml").read_text()))
    pods = [document["spec"]["template"]["spec"] for document in documents if "template" in document.get("spec", {})]

    assert [pod.get("enableServiceLinks") for pod in pods] == [False, False]
