"""The description of PostgreSQL: one server with a database for kappa and one for the schema registry.

It listens on TCP only (a Unix socket's path may not be longer than about 100 bytes, and folders of tests are) and asks
everybody for a password. Roles inside the database `kappa` are not its business.
"""

from __future__ import annotations

import signal
import struct

from kappa.stack.asking import ask
from kappa.stack.part import HOST, Part, Site

NAME = "postgres"
SUPERUSER, DATABASE = "postgres", "kappa"
REGISTRY_ROLE = REGISTRY_DATABASE = "registry"

# The data folder gets its name when it is complete, so a start that was killed midway leaves nothing half made.
_SCRIPT = """\
if [ ! -d data ]; then
    rm -rf data.new
    "$PROGRAMS/initdb" --pgdata=data.new --username="$SUPERUSER" --pwfile=password --auth=scram-sha-256 \\
        --encoding=UTF8 --locale=C --no-instructions || exit
    "$PROGRAMS/postgres" --single -D data.new postgres <databases.sql || exit
    mv data.new data || exit
fi
exec "$PROGRAMS/postgres" -D data -c listen_addresses="$HOST" -c port="$PORT" -c unix_socket_directories=
"""

_PROTOCOL_3 = 196_608
# Type, length, method 10, "SCRAM-SHA-256" and the list's end. Who leaves some of it unread gets into the server's log.
_AUTHENTICATION_BYTES = 1 + 4 + 4 + 14 + 1


def postgres(site: Site) -> Part:
    """Describe the server."""
    port = site.ports[NAME]
    return Part(
        name=NAME,
        script=_SCRIPT,
        environment={
            "PROGRAMS": str(site.software.postgres),
            "SUPERUSER": SUPERUSER,
            "HOST": HOST,
            "PORT": str(port),
        },
        folder=site.folder / NAME,
        files={
            "password": site.secrets.postgres_password + "\n",
            # A line is a statement: that is how a server without clients reads them.
            "databases.sql": f"CREATE DATABASE {DATABASE}\n"
            f"CREATE ROLE {REGISTRY_ROLE} LOGIN PASSWORD '{site.secrets.registry_password}'\n"
            f"CREATE DATABASE {REGISTRY_DATABASE} OWNER {REGISTRY_ROLE}\n",
        },
        ports={NAME: port},
        address=f"{HOST}:{port}",
        answers=lambda: answers(port),
        # "Fast": ends sessions. SIGTERM would wait for clients to leave.
        stop_signal=signal.SIGINT,
        user=site.postgres_user,
    )


def answers(port: int) -> bool:
    """Say whether the server asks for a password; while it starts up or recovers it answers with an error.

    Source: PostgreSQL documentation, "Message Formats": StartupMessage, and R for every authentication request.
    """
    body = struct.pack(">i", _PROTOCOL_3) + f"user\0{SUPERUSER}\0database\0{DATABASE}\0\0".encode()
    return ask(port, struct.pack(">i", len(body) + 4) + body, answer_bytes=_AUTHENTICATION_BYTES)[:1] == b"R"
