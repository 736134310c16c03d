"""Speaks the protocol by hand, where no driver does what a test needs. Prints what came back."""

import json
import socket
import struct
import sys
import time


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


def connect(port, application_name=""):
    stream = socket.create_connection(("127.0.0.1", port), timeout=20)
    body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0"
    body += b"application_name\0" + application_name.encode() + b"\0\0"
    stream.sendall(struct.pack("!i", len(body) + 4) + body)
    return stream


def until(stream, kind, pipe=None):
    """Reads messages up to one of a kind, or the end; what came behind it is left in the pipe."""
    got = []
    pipe = pipe or stream.makefile("rb")
    while head := pipe.read(5):
        body = pipe.read(struct.unpack("!i", head[1:])[0] - 4)
        got.append((head[:1], body))
        if head[:1] == kind:
            break
    return got


def cells(body):
    """The cells of a row in hexadecimal digits, None for NULL."""
    count, at, row = struct.unpack_from("!h", body)[0], 2, []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        row.append(None if length < 0 else body[at : at + length].hex())
        at += max(length, 0)
    return row


def cancel(port, proxy_port, falsify):
    """Cancels by a connection straight to the proxy, as a client behind NAT or another driver may."""
    stream = connect(port)
    key = next(body for kind, body in until(stream, b"Z") if kind == b"K")
    if falsify:
        key = key[:-1] + bytes([key[-1] ^ 1])
    stream.sendall(message(b"Q", b"select pg_sleep(3)\0"))
    time.sleep(0.3)
    other = socket.create_connection(("127.0.0.1", proxy_port), timeout=20)
    other.sendall(struct.pack("!ii", 12 + len(key) - 4, 80877102) + key)
    print("answered" if other.recv(1) else "closed")
    print(*(body.replace(b"\0", b" ") for kind, body in until(stream, b"Z") if kind in b"EC"))


def crowd(port, count):
    """Opens connections, and prints the error of the first that is not let in."""
    held = []
    for _ in range(count):
        held.append(connect(port))
        errors = [body for kind, body in until(held[-1], b"Z") if kind == b"E"]
        if errors:
            print(len(held), errors[0].replace(b"\0", b" "))
            return
    print("all", count)


def direct(proxy_port, text):
    """Says something to the proxy that did not come through the redirect."""
    stream = socket.create_connection(("127.0.0.1", proxy_port), timeout=20)
    stream.sendall(bytes.fromhex(text))
    print("answered" if stream.recv(1) else "closed")


def say(port, hang_up, when, *texts):
    """Sends bytes at the opening, once ready, or after a start-up under a name; prints what came until the end."""
    if when == "opening":
        stream = socket.create_connection(("127.0.0.1", port), timeout=20)
    else:
        stream = connect(port, when)
    if when == "ready":
        until(stream, b"Z")
    for text in texts:
        try:
            stream.sendall(bytes.fromhex(text))
        except OSError:
            # It is closed before everything was said.
            pass
    if hang_up:
        stream.shutdown(socket.SHUT_WR)
    got = b""
    try:
        while data := stream.recv(65536):
            got += data
    except ConnectionResetError:
        # What it had not read was thrown away.
        pass
    print(got.hex(), "closed")


def talk(port, *texts):
    """Says each text once the one before is answered, and prints the messages of every answer as JSON."""
    stream = connect(port)
    pipe = stream.makefile("rb")
    until(stream, b"Z", pipe)
    answers = []
    for text in texts:
        stream.sendall(bytes.fromhex(text))
        answers.append([[kind.decode(), body.hex()] for kind, body in until(stream, b"Z", pipe)])
    print(json.dumps(answers))


if __name__ == "__main__":
    port, what, *rest = int(sys.argv[1]), *sys.argv[2:]
    if what == "cancel":
        cancel(port, int(rest[0]), rest[1] == "falsified")
    elif what == "crowd":
        crowd(port, int(rest[0]))
    elif what == "talk":
        talk(port, *rest)
    elif what in ("say", "hang-up"):
        say(port, what == "hang-up", *rest)
    elif what == "direct":
        direct(port, rest[0])
