"""Asks the Linux kernel whether the other end of a loopback connection has read what was sent to it.

One message of the sock_diag protocol, 14 microseconds; see sock_diag(7).
"""

from __future__ import annotations

import errno
import socket
import struct

from tests.waiting import PATIENCE

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
ALL_STATES = NO_COOKIE = 0xFFFFFFFF
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
REQUEST = struct.Struct("=BBBxI")  # struct inet_diag_req_v2, up to its id
SOCKET_ID = struct.Struct("!HH4s12x4s12x")  # struct inet_diag_sockid, up to its interface
INTERFACE_AND_COOKIE = struct.Struct("=III")
RECEIVE_QUEUE = struct.Struct("=I")
RECEIVE_QUEUE_OFFSET = HEADER.size + 4 + SOCKET_ID.size + INTERFACE_AND_COOKIE.size + 4  # after idiag_expires


def unread_by_peer(connection: socket.socket) -> int | None:
    """The bytes that wait in the receive queue of the peer of `connection` (IPv4, both ends on this machine).

    0 if the peer is gone; None if the kernel cannot be asked (not Linux, or without the module tcp_diag).
    """
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    try:
        with socket.socket(family, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(PATIENCE)
            kernel.send(_question(connection.getpeername(), connection.getsockname()))
            return _unread(kernel.recv(4096))
    except OSError as error:
        return 0 if error.errno in (errno.ENOTCONN, errno.EBADF) else None


def _question(local: tuple[str, int], remote: tuple[str, int]) -> bytes:
    """Asks about the socket that is bound to `local` and connected to `remote`."""
    body = (
        REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, ALL_STATES)
        + SOCKET_ID.pack(local[1], remote[1], socket.inet_aton(local[0]), socket.inet_aton(remote[0]))
        + INTERFACE_AND_COOKIE.pack(0, NO_COOKIE, NO_COOKIE)
    )
    return HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + body


def _unread(reply: bytes) -> int | None:
    """The queue's length; an error is the answer to a question about a socket that is not there any more."""
    _length, kind, _flags, _sequence, _port = HEADER.unpack_from(reply)
    if kind == NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", reply, HEADER.size)
        return 0 if code == -errno.ENOENT else None
    (queue,) = RECEIVE_QUEUE.unpack_from(reply, RECEIVE_QUEUE_OFFSET)
    return int(queue)
