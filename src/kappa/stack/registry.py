"""The description of the schema registry: Apicurio, which keeps its schemas in the stack's PostgreSQL.

Clients use the API that Confluent's registry has, so nothing else here depends on which registry it is.
"""

from __future__ import annotations

from kappa.stack import postgres
from kappa.stack.asking import ask_http
from kappa.stack.part import HOST, Part, Site

NAME = "registry"
VERSION = "3.0.9"  # the last one for Java 17; pom.xml names it too
_MANAGEMENT = "registry-management"
_API = "/apis/ccompat/v7"
_OK = 200

_SCRIPT = """\
exec java -Xms64m -Xmx384m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -jar "$JAR"
"""


def registry(site: Site) -> Part:
    """Describe the registry."""
    port, management = site.ports[NAME], site.ports[_MANAGEMENT]
    return Part(
        name=NAME,
        script=_SCRIPT,
        environment={
            "JAR": str(site.software.registry / f"apicurio-registry-app-{VERSION}-runner.jar"),
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(port),
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(management),
            "QUARKUS_BANNER_ENABLED": "false",
            # A line per request, each question whether it is ready among them, would bury what matters.
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "QUARKUS_LOG_CATEGORY__IO_APICURIO__LEVEL": "WARN",
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "postgresql",
            "APICURIO_DATASOURCE_URL": (
                f"jdbc:postgresql://{HOST}:{site.ports[postgres.NAME]}/{postgres.REGISTRY_DATABASE}"
            ),
            "APICURIO_DATASOURCE_USERNAME": postgres.REGISTRY_ROLE,
            "APICURIO_DATASOURCE_PASSWORD": site.secrets.registry_password,
        },
        folder=site.folder / NAME,
        ports={NAME: port, _MANAGEMENT: management},
        address=f"http://{HOST}:{port}{_API}",
        answers=lambda: answers(port),
        needs=(postgres.NAME,),
    )


def answers(port: int) -> bool:
    """Say whether the registry lists its subjects, which it reads from its database."""
    status, _ = ask_http(port, f"{_API}/subjects")
    return status == _OK
