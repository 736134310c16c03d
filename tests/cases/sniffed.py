"""A client, or a server, of anything. Prints one JSON value of what it saw."""

import errno
import hashlib
import json
import socket
import ssl
import struct
import sys
import threading
import time


def dial(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def rest(stream):
    """What comes until the end, and what the end is."""
    got = b""
    try:
        while data := stream.recv(65536):
            got += data
    except OSError as error:
        return got, errno.errorcode.get(error.errno, str(error))
    return got, "end"


def exactly_one(stream):
    byte = stream.recv(1)
    if not byte:
        raise OSError(errno.ENODATA, "ended")
    return byte


def say(port, pause_ms, *texts):
    """Says each text after a pause, and listens until the end; `-` shuts the client's half, `?…` waits for bytes."""
    try:
        stream = dial(port)
        peer = "%s:%d" % stream.getpeername()
    except OSError as error:
        # A socket that is reset has no peer any more.
        return {"got": "", "end": "ECONNRESET" if error.errno == errno.ENOTCONN else errno.errorcode[error.errno]}
    heard, reset = b"", False
    for text in texts:
        time.sleep(int(pause_ms) / 1000)
        try:
            if text == "-":
                stream.shutdown(socket.SHUT_WR)
            elif text[0] == "?":
                while not heard.endswith(bytes.fromhex(text[1:])):
                    heard += exactly_one(stream)
            else:
                stream.sendall(bytes.fromhex(text))
        except OSError as error:
            # The kernel tells of a reset once: whoever sends first hears of it.
            reset = error.errno == errno.ECONNRESET
            break
    got, end = rest(stream)
    return {"got": (heard + got).decode("latin1"), "end": "ECONNRESET" if reset else end, "peer": peer}


def listen(port, text):
    """Listens first, then says something and listens until the end."""
    begun = time.monotonic()
    stream = dial(port)
    first = stream.recv(65536)
    seconds = time.monotonic() - begun
    stream.sendall(text.encode())
    got, end = rest(stream)
    return {"first": first.decode(), "seconds": seconds, "got": got.decode(), "end": end}


def transfer(port, size):
    """Sends much while as much comes back."""
    stream = dial(port)
    block = hashlib.sha512(b"block").digest() * 1024
    sent = hashlib.sha256()

    def send():
        left = int(size)
        while left:
            part = block[: min(left, len(block))]
            stream.sendall(part)
            sent.update(part)
            left -= len(part)
        stream.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send)
    sending.start()
    received, count = hashlib.sha256(), 0
    while data := stream.recv(1 << 20):
        received.update(data)
        count += len(data)
    sending.join()
    return {"same": sent.hexdigest() == received.hexdigest(), "count": count}


def reset(port, text):
    """Says something and resets the connection."""
    stream = dial(port)
    stream.sendall(text.encode())
    time.sleep(0.2)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()
    return True


def second_hello(port, name):
    """Begins TLS 1.3 without a key the server could use, so that it asks for another `ClientHello`, and names a protocol
    in that one only. What was answered to each: kinds of records with the kind of message, or of alert."""
    stream = dial(port)

    def short(body):
        return bytes([len(body)]) + body

    def long(body):
        return struct.pack("!H", len(body)) + body

    def hello(*more):
        extensions = [
            (43, short(b"\x03\x04")),
            (10, long(b"\x00\x1d")),
            (13, long(b"\x08\x04\x04\x03\x08\x05\x08\x06\x04\x01")),
            *more,
        ]
        packed = b"".join(struct.pack("!H", kind) + long(body) for kind, body in extensions)
        body = b"\x03\x03" + b"r" * 32 + short(b"s" * 32) + long(b"\x13\x01\x13\x02") + short(b"\0") + long(packed)
        message = b"\x01" + struct.pack("!I", len(body))[1:] + body
        return b"\x16\x03\x01" + long(message)

    def answer():
        """The first record that is no change_cipher_spec."""
        try:
            while True:
                head = exactly(stream, 5)
                body = exactly(stream, struct.unpack("!H", head[3:])[0])
                if head[0] != 20:
                    return "alert %d" % body[1] if head[0] == 21 else "%d %d" % (head[0], body[0])
        except OSError as error:
            return errno.errorcode.get(error.errno, str(error))

    stream.sendall(hello((51, long(b""))))
    first = answer()
    # Any 32 bytes are a key of X25519.
    stream.sendall(hello((51, long(b"\x00\x1d" + long(b"k" * 32))), (16, long(short(name.encode())))))
    return [first, answer()]


def exactly(stream, count):
    got = b""
    while len(got) < count:
        got += exactly_one(stream)
    return got


def serve_tls(port, certificate, key, *alpn):
    """Echoes inside TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(list(alpn))
    listener = socket.create_server(("127.0.0.1", port))
    print("ready", flush=True)
    while True:
        stream = listener.accept()[0]

        def serve(stream=stream):
            try:
                with context.wrap_socket(stream, server_side=True) as inner:
                    while data := inner.recv(65536):
                        inner.sendall(data)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()


def tls(port, authority, version, *alpn):
    """Has a server that it verifies echo something inside TLS."""
    context = ssl.create_default_context(cafile=authority)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with context.wrap_socket(dial(port), server_hostname="web.example") as stream:
        # Past what is looked at for a second beginning.
        block, echoed = b"x" * 10_000, 0
        for _ in range(20):
            stream.sendall(block)
            left = len(block)
            while left:
                left -= len(stream.recv(left))
            echoed += len(block)
        return {"version": stream.version(), "alpn": stream.selected_alpn_protocol(), "echoed": echoed}


if __name__ == "__main__":
    what, port, *words = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
    acts = {
        "say": say,
        "listen": listen,
        "transfer": transfer,
        "reset": reset,
        "second hello": second_hello,
        "serve tls": serve_tls,
        "tls": tls,
    }
    print(json.dumps(acts[what](port, *words)))
