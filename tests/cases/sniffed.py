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
        raise OSError(errno.ECONNRESET, "ended")
    return byte


def say(port, pause_ms, *texts):
    """Says each text after a pause, and listens until the end; `-` shuts the client's half, `?…` waits for bytes."""
    try:
        stream = dial(port)
        peer = "%s:%d" % stream.getpeername()
    except OSError as error:
        # A socket that is reset has no peer any more.
        return {"got": "", "end": "ECONNRESET" if error.errno == errno.ENOTCONN else errno.errorcode[error.errno]}
    heard = b""
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
        except OSError:
            break
    got, end = rest(stream)
    return {"got": (heard + got).decode("latin1"), "end": end, "peer": peer}


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
    acts = {"say": say, "listen": listen, "transfer": transfer, "reset": reset, "serve tls": serve_tls, "tls": tls}
    print(json.dumps(acts[what](port, *words)))
