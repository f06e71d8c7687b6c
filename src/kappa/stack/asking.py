"""Ask a port on this machine one thing, in its own protocol, and take its answer.

An answer late or short is an OSError, like a refused connection: whoever asks will ask again.
"""

from __future__ import annotations

import http.client
import socket

from kappa.stack.part import HOST

# A process that is ready answers at once; one that is stopped or overloaded must not hold up the others.
_TIMEOUT_S = 2.0


def ask(port: int, request: bytes, *, answer_bytes: int) -> bytes:
    """Send a request and return the first bytes of the answer.

    Raises:
        OSError: Nobody listens, or the answer is late or short.
    """
    with socket.create_connection((HOST, port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = b""
        while len(answer) < answer_bytes:
            chunk = connection.recv(answer_bytes - len(answer))
            if not chunk:
                raise ConnectionResetError(f"port {port} closed the connection after {len(answer)} bytes")
            answer += chunk
        return answer


def ask_http(port: int, path: str) -> tuple[int, str]:
    """Get a path and return the status and what the server calls itself. No proxy is asked, whatever is configured.

    Raises:
        OSError: Nobody listens, or the answer is late or no HTTP.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.getheader("Server", "")
    except http.client.HTTPException as error:
        raise ConnectionError(f"port {port} does not speak HTTP: {error}") from error
    finally:
        connection.close()
