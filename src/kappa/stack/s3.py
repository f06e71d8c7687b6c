"""The description of the S3 gateway: VersityGW, which keeps a bucket as a folder and an object as a file."""

from __future__ import annotations

from kappa.stack.asking import ask_http
from kappa.stack.part import HOST, Part, Site

NAME = "s3"
CHECKPOINTS, BUNDLES = "kappa-checkpoints", "kappa-bundles"
BUCKETS = (CHECKPOINTS, BUNDLES)
REGION = "us-east-1"  # what the gateway says it is in, and what clients assume

_SCRIPT = f"""\
mkdir -p {" ".join(f"data/{bucket}" for bucket in BUCKETS)} || exit
exec "$GATEWAY" --quiet --port "$ADDRESS" --region {REGION} posix "$PWD/data"
"""


def s3(site: Site) -> Part:
    """Describe the gateway."""
    port = site.ports[NAME]
    return Part(
        name=NAME,
        script=_SCRIPT,
        environment={
            "GATEWAY": str(site.software.gateway),
            "ADDRESS": f"{HOST}:{port}",
            "ROOT_ACCESS_KEY": site.secrets.s3_access_key,
            "ROOT_SECRET_KEY": site.secrets.s3_secret_key,
        },
        folder=site.folder / NAME,
        ports={NAME: port},
        address=f"http://{HOST}:{port}",
        answers=lambda: answers(port),
    )


def answers(port: int) -> bool:
    """Say whether the gateway answers; it refuses whoever signs nothing, and that is an answer."""
    _, server = ask_http(port, "/")
    return server == "VERSITYGW"
