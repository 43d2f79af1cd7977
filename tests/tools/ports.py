"""Ports for the programs that a test starts."""

import socket
from collections import deque

_MOST = 200
_given: set[int] = set()
_held: deque[socket.socket] = deque()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which a server can listen, and which nobody who asks for any port is given.

    It stays bound until this process asked for many more: a program takes seconds to start, in which a server of
    another worker, or any outgoing connection, would take it.
    """
    while True:
        held = socket.socket()
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        if port not in _given:
            break
        held.close()
    # Only now: alone it is bound, and shared it is with a server, which says the same of its own socket.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _given.add(port)
    _held.append(held)
    if len(_held) > _MOST:
        _held.popleft().close()
    return port
