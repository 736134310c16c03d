"""Speaks PostgreSQL inside TLS by hand, as a client, a server or somebody between, where no driver does what a test needs."""

import json
import signal
import socket
import ssl
import struct
import sys
import threading
import time

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


def startup(user="postgres"):
    body = struct.pack("!i", 196608) + b"user\0" + user.encode() + b"\0database\0postgres\0\0"
    return struct.pack("!i", len(body) + 4) + body


def client_context(**options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if options.get("alpn"):
        context.set_alpn_protocols([options["alpn"]])
    if options.get("version") == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if options.get("certificate"):
        context.load_cert_chain(*options["certificate"])
    return context


def dial(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=20)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def exactly(stream, count):
    got = b""
    while len(got) < count:
        data = stream.recv(count - len(got))
        if not data:
            raise EOFError(got)
        got += data
    return got


def requested(port, session=None, **options):
    """A client that asked for TLS and got it."""
    stream = dial(port)
    stream.sendall(SSL_REQUEST)
    assert exactly(stream, 1) == b"S"
    return client_context(**options).wrap_socket(stream, server_hostname=options.get("sni"), session=session)


def until(stream, kind):
    """Messages up to one of a kind, or the end."""
    got = []
    while True:
        try:
            head = exactly(stream, 5)
            body = exactly(stream, struct.unpack("!i", head[1:])[0] - 4)
        except (EOFError, OSError):
            return got
        got.append((head[:1], body))
        if head[:1] == kind:
            return got


def logged_in(stream):
    stream.sendall(startup())
    return until(stream, b"Z")


def field(messages, kind):
    for what, body in messages:
        if what == b"E":
            for part in body.split(b"\0"):
                if part[:1] == kind:
                    return part[1:].decode()
    return None


def text(messages):
    return b"".join(body for _, body in messages).decode("latin1")


def see(port, sql):
    """Everything a client of each form of TLS is sent for a query."""
    forms = {
        "1.3": lambda: requested(port),
        "1.2": lambda: requested(port, version="1.2"),
        "alpn": lambda: requested(port, alpn="postgresql"),
        "other alpn": lambda: requested(port, alpn="h2"),
        "after gss": lambda: after_gss(port),
        "direct": lambda: direct(port, "postgresql"),
    }
    got = {}
    for name, open_form in forms.items():
        stream = open_form()
        logged_in(stream)
        stream.sendall(message(b"Q", sql.encode() + b"\0"))
        rows = [body for kind, body in until(stream, b"Z") if kind == b"D"]
        stream.sendall(message(b"X"))
        # The proxy says farewell in TLS, or this is an error.
        stream.suppress_ragged_eofs = False
        assert stream.recv(1) == b""
        got[name] = [stream.version(), b"".join(rows).decode("latin1")]
    print(json.dumps(got))


def after_gss(port):
    stream = dial(port)
    stream.sendall(GSS_REQUEST)
    assert exactly(stream, 1) == b"N"
    stream.sendall(SSL_REQUEST)
    assert exactly(stream, 1) == b"S"
    return client_context().wrap_socket(stream)


def direct(port, alpn=None):
    stream = dial(port)
    return client_context(alpn=alpn).wrap_socket(stream)


def outcome(action):
    try:
        return action()
    except (OSError, EOFError, AssertionError) as error:
        return f"closed: {type(error).__name__}"


def hostile(port):
    """What a client that breaks the opening is answered."""

    def injected(behind, pause):
        stream = dial(port)
        if pause:
            stream.sendall(SSL_REQUEST)
            time.sleep(0.2)
            stream.sendall(behind)
        else:
            stream.sendall(SSL_REQUEST + behind)
        got = b""
        while data := stream.recv(65536):
            got += data
        return got.hex()

    def again(request):
        stream = requested(port)
        stream.sendall(request)
        return field(until(stream, b"Z"), b"C")

    def in_clear():
        stream = requested(port)
        logged_in(stream)
        # Past TLS, as somebody between would put it there.
        socket.socket.sendall(stream, message(b"Q", b"select 'injected'\0"))
        return "answered" if stream.recv(1) else "closed: by the proxy"

    def without_alpn():
        stream = direct(port)
        stream.sendall(startup())
        return "answered" if stream.recv(1) else "closed: by the proxy"

    print(
        json.dumps(
            {
                "behind": outcome(lambda: injected(startup("injected"), False)),
                "later": outcome(lambda: injected(startup("injected"), True)),
                "again": outcome(lambda: again(SSL_REQUEST)),
                "gss inside": outcome(lambda: again(GSS_REQUEST)),
                "in clear": outcome(in_clear),
                "no alpn": outcome(without_alpn),
                "other alpn": outcome(lambda: direct(port, "h2").version()),
            }
        )
    )


def cancel(port):
    """Cancels a query by a request inside TLS."""
    stream = requested(port)
    key = next(body for kind, body in logged_in(stream) if kind == b"K")
    stream.sendall(message(b"Q", b"select pg_sleep(20)\0"))
    time.sleep(0.3)
    begun = time.monotonic()
    for other in (requested(port), direct(port, "postgresql")):
        other.sendall(struct.pack("!ii", 12 + len(key) - 4, 80877102) + key)
        answered = other.recv(1)
    got = until(stream, b"Z")
    stream.sendall(message(b"Q", b"select 41 + 1\0"))
    after = text(until(stream, b"Z"))
    print(json.dumps({
        "answered": len(answered), "state": field(got, b"C"), "quick": time.monotonic() - begun < 10, "after": "42" in after,
    }))


def half_close(port):
    """Says its last word in TLS, and still gets the answer to the one before."""
    stream = requested(port, version="1.2")
    logged_in(stream)
    stream.sendall(message(b"Q", b"select 'late' from pg_sleep(0.3)\0"))
    # OpenSSL in Python cannot say farewell and read on, so the socket does.
    socket.socket.shutdown(stream, socket.SHUT_WR)
    print(json.dumps("late" in text(until(stream, b"Z"))))


def resume(port):
    """Connects twice; whether the second handshake took up the first, and what certificates were shown."""
    first = requested(port, version="1.2")
    logged_in(first)
    second = client_context(version="1.2")
    stream = dial(port)
    stream.sendall(SSL_REQUEST)
    exactly(stream, 1)
    # A session belongs to the context it was made in.
    again = first.context.wrap_socket(stream, session=first.session)
    logged_in(again)
    print(json.dumps({"first": first.session_reused, "second": again.session_reused, "made": second is not None}))


def shown(port, sni):
    """The certificate a client is shown, in DER."""
    print(requested(port, sni=sni or None).getpeercert(binary_form=True).hex())


def crowd(port, count):
    """The error of the connection too many."""
    held = []
    for _ in range(count + 1):
        held.append(requested(port))
        state = field(logged_in(held[-1]), b"C")
    print(json.dumps(state))


def idle(port, count, encrypted):
    """Holds connections until its input ends."""
    held = []
    for _ in range(count):
        held.append(requested(port) if encrypted else dial(port))
        logged_in(held[-1])
    print("ready", flush=True)
    sys.stdin.read()


def relay(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for end in (a, b):
        try:
            socket.socket.shutdown(end, socket.SHUT_RDWR)
        except OSError:
            pass


def proxy(listen, context, meet):
    """Takes the TLS of its clients off, by what `context()` is by then, and relays to what `meet` gives for each."""
    listener = socket.create_server(("127.0.0.1", listen))
    print("ready", flush=True)
    while True:
        near = listener.accept()[0]

        def serve(near=near, context=context()):
            try:
                exactly(near, 8)
                near.sendall(b"S")
                inner = context.wrap_socket(near, server_side=True)
                far = meet(inner)
            except (OSError, EOFError):
                return
            threading.Thread(target=relay, args=(far, inner), daemon=True).start()
            relay(inner, far)

        threading.Thread(target=serve, daemon=True).start()


def between(listen, port, certificate, key):
    """Somebody between, with a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    proxy(listen, lambda: context, lambda _inner: requested(port))


def pooler(listen, port, log, *certificates):
    """A server before the server; SIGUSR1 gives it the other certificate. Sessions with the first can be taken up again.
    The log has a line for each handshake."""
    contexts = []
    for certificate in certificates:
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        contexts[-1].load_cert_chain(certificate + ".crt", certificate + ".key")
        # Only the first: what is kept of it is then not driven out.
        contexts[-1].num_tickets = 8 if len(contexts) == 1 else 0
    signal.signal(signal.SIGUSR1, lambda *_: contexts.reverse())

    def meet(inner):
        with open(log, "a") as file:
            print("resumed" if inner.session_reused else "new", inner.version(), file=file)
        return dial(port)

    proxy(listen, lambda: contexts[0], meet)


def by_name(listen, log, certificate, *servers):
    """A server before several, each `name=port`, that tells them apart by the name that is said in the handshake."""
    ports = dict(server.split("=") for server in servers)
    said = {}

    def hear(inner, name, _context):
        said[inner] = name and name.lower()
        return None if said[inner] in ports else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    def meet(inner):
        name = said.pop(inner)
        with open(log, "a") as file:
            print(name, file=file)
        return dial(int(ports[name]))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate + ".crt", certificate + ".key")
    context.sni_callback = hear
    proxy(listen, lambda: context, meet)


def answers(listen, text):
    """A server that answers a request for TLS by these bytes."""
    listener = socket.create_server(("127.0.0.1", listen))
    print("ready", flush=True)
    while True:
        near = listener.accept()[0]

        def serve(near=near):
            try:
                exactly(near, 8)
                near.sendall(bytes.fromhex(text))
                while near.recv(65536):
                    pass
            except (OSError, EOFError):
                pass
            near.close()

        threading.Thread(target=serve, daemon=True).start()


if __name__ == "__main__":
    what, port, *rest = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
    if what == "see":
        see(port, rest[0])
    elif what == "hostile":
        hostile(port)
    elif what == "cancel":
        cancel(port)
    elif what == "half-close":
        half_close(port)
    elif what == "resume":
        resume(port)
    elif what == "shown":
        shown(port, rest[0])
    elif what == "crowd":
        crowd(port, int(rest[0]))
    elif what == "idle":
        idle(port, int(rest[0]), rest[1] == "encrypted")
    elif what == "between":
        between(port, int(rest[0]), rest[1], rest[2])
    elif what == "pooler":
        pooler(port, int(rest[0]), *rest[1:])
    elif what == "by-name":
        by_name(port, *rest)
    elif what == "answers":
        answers(port, rest[0])
