"""Listens where a database should be, and asks for passwords. Prints all that it hears.

Arguments: port, what to ask first (clear, md5, scram, nothing), what to ask the daemon's own session.
"""

import socket
import struct
import sys
import threading

port, first, second = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


ASKED = {
    "clear": message(b"R", struct.pack("!I", 3)),
    "md5": message(b"R", struct.pack("!I", 5) + b"salt"),
    "scram": message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"),
    "nothing": b"",
}
LET_IN = (
    message(b"R", struct.pack("!I", 0))
    + message(b"S", b"server_version\x0018.0\0")
    + message(b"S", b"client_encoding\0UTF8\0")
    + message(b"K", struct.pack("!II", 1, 2))
    + message(b"Z", b"I")
)


def exactly(peer, count):
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def packet(peer):
    return exactly(peer, struct.unpack("!I", exactly(peer, 4))[0] - 4)


def serve(peer):
    opening = packet(peer)
    while opening[:4] == struct.pack("!I", 80877103):
        peer.sendall(b"N")
        opening = packet(peer)
    asked = second if b"mask-agent catalog" in opening else first
    print("asked", asked, flush=True)
    peer.sendall(ASKED[asked])
    if asked != "nothing":
        exactly(peer, 1)
        print(packet(peer), flush=True)
    # As if the proof were right, which nobody here can tell.
    peer.sendall(LET_IN)
    while True:
        heard = peer.recv(4096)
        if not heard:
            return
        print(heard, flush=True)


listener = socket.create_server(("127.0.0.1", port))


def guarded(peer):
    try:
        peer.settimeout(20)
        serve(peer)
    except (OSError, struct.error):
        pass
    finally:
        peer.close()


while True:
    peer, _ = listener.accept()
    threading.Thread(target=guarded, args=(peer,), daemon=True).start()
