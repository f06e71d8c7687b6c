"""Choose ports that nobody uses. A port that is free now may be taken a moment later: whoever starts a process must
be ready to choose again.
"""

from __future__ import annotations

import random
import socket

from kappa.stack.part import HOST

# Below the range from which systems give ports to outgoing connections (32768 on Linux, 49152 elsewhere): such a
# connection could sit on a part's port when the part is started again.
FIRST, END = 20_000, 30_000
_TRIES_MAX = 200


class ChosenPorts(dict[str, int]):
    """Port name -> port. Asking for a name that has none chooses one."""

    def __missing__(self, name: str) -> int:
        """Choose a free port, unlike all others here, and keep it under this name."""
        for _ in range(_TRIES_MAX):
            port = random.randrange(FIRST, END)  # noqa: S311 - at random so that two stacks rarely choose the same
            if port not in self.values() and is_free(port):
                self[name] = port
                return port
        raise OSError(f"none of {_TRIES_MAX} ports from {FIRST} to {END - 1} is free")


def is_free(port: int) -> bool:
    """Say whether a process could listen on a port now."""
    with socket.socket() as listener:
        # As servers do: connections that have ended recently are not in the way, listeners are.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True
