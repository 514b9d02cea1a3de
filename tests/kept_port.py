"""Ports that stay a test's own while nothing listens there."""

import socket


def keep_port(host: str = "127.0.0.1") -> socket.socket:
    """A socket that keeps a port of `host` nobody listens at: connections to it are refused until the socket is closed.

    Only servers of this process that share ports (`allow_reuse_port`) can listen there meanwhile.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.bind((host, 0))
    return keeper


def port_of(keeper: socket.socket) -> int:
    """The number of its port."""
    return int(keeper.getsockname()[1])
