"""Makes connections by hand, in every way a program may. Prints one JSON value."""

import ctypes
import errno
import json
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time

DEADLINE = 5
SO_MARK, SO_BINDTODEVICE, IP_UNICAST_IF = 36, 25, 50
TCP_FASTOPEN_CONNECT, MSG_FASTOPEN, IPPROTO_MPTCP = 30, 0x20000000, 262
LIBC = ctypes.CDLL(None, use_errno=True)


def tcp(family=socket.AF_INET, protocol=0):
    stream = socket.socket(family, socket.SOCK_STREAM, protocol)
    stream.settimeout(DEADLINE)
    return stream


def shown(address):
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"


def plain(address, family=socket.AF_INET, prepare=lambda stream: None):
    stream = tcp(family)
    prepare(stream)
    stream.connect(address)
    return stream


def not_blocking(address):
    stream = tcp()
    stream.setblocking(False)
    code = stream.connect_ex(address)
    if code == errno.EINPROGRESS:
        select.select([], [stream], [], DEADLINE)
        code = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    return stream


def fast_open(address, family=socket.AF_INET):
    stream = tcp(family)
    # A time-out of Python's own would make the socket non-blocking.
    stream.settimeout(None)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", DEADLINE, 0))
    stream.sendto(b"hi", MSG_FASTOPEN, address)
    return stream


def disconnect(stream):
    if LIBC.connect(stream.fileno(), struct.pack("16x"), 16):
        raise OSError(ctypes.get_errno(), "connect to AF_UNSPEC")


def turned(first, second):
    stream = plain(first)
    disconnect(stream)
    stream.connect(second)
    return stream


def io_uring(address, setup_flags=0, entry_flags=0):
    """One IORING_OP_CONNECT through a ring of its own."""
    sqpoll, connect, enter_wait, enter_wakeup = 2, 16, 1, 2
    params = ctypes.create_string_buffer(struct.pack("4I104x", 0, 0, setup_flags, 0), 120)
    struct.pack_into("I", params, 16, 1000)
    ring = LIBC.syscall(425, 8, params)
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    sq_entries, cq_entries = struct.unpack_from("2I", params)
    sq_tail, sq_array = struct.unpack_from("I", params, 44)[0], struct.unpack_from("I", params, 64)[0]
    cq_tail, cqes = struct.unpack_from("I", params, 84)[0], struct.unpack_from("I", params, 100)[0]
    submit = mmap.mmap(ring, sq_array + sq_entries * 4, offset=0)
    complete = mmap.mmap(ring, cqes + cq_entries * 16, offset=0x8000000)
    entries = mmap.mmap(ring, sq_entries * 64, offset=0x10000000)
    stream = socket.socket()
    to = ctypes.create_string_buffer(
        struct.pack("=H", socket.AF_INET) + struct.pack("!H", address[1]) + socket.inet_aton(address[0]) + bytes(8), 16
    )
    struct.pack_into("=BBHiQQ", entries, 0, connect, entry_flags, 0, stream.fileno(), 16, ctypes.addressof(to))
    struct.pack_into("I", submit, sq_array, 0)
    struct.pack_into("I", submit, sq_tail, 1)
    flags = enter_wait | (enter_wakeup if setup_flags & sqpoll else 0)
    if LIBC.syscall(426, ring, 1, 1, flags, None, 0) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_enter")
    end = time.monotonic() + DEADLINE
    while struct.unpack_from("I", complete, cq_tail)[0] == 0:
        if time.monotonic() > end:
            raise TimeoutError(errno.ETIMEDOUT, "no completion")
        time.sleep(0.001)
    result = struct.unpack_from("i", complete, cqes + 8)[0]
    os.close(ring)
    if result:
        raise OSError(-result, os.strerror(-result))
    return stream


def option(level, name, value):
    return lambda stream: stream.setsockopt(level, name, value)


def outcome(attempt):
    """Where a connection believes it went, or why it did not; and how long that took."""
    start = time.monotonic()
    try:
        with attempt() as stream:
            return {"peer": shown(stream.getpeername()), "error": None}
    except OSError as error:
        took = time.monotonic() - start
        return {"peer": None, "error": errno.errorcode.get(error.errno, str(error)), "seconds": round(took, 3)}


def ways(port, source, device):
    """Every way, each to an address of its own."""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    index = struct.pack("!I", socket.if_nametoindex(device))
    everyone = {
        "v4": lambda a, _: plain(a),
        "v4 not blocking": lambda a, _: not_blocking(a),
        "v6": lambda _, a: plain(a, v6),
        "v6 only": lambda _, a: plain(a, v6, option(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)),
        "v4-mapped on v6": lambda a, _: plain((f"::ffff:{a[0]}", a[1]), v6),
        "bound to 127.0.0.5": lambda a, _: plain(a, v4, lambda stream: stream.bind(("127.0.0.5", 0))),
        "bound to a real address": lambda a, _: plain(a, v4, lambda stream: stream.bind((source, 0))),
        "bound to device lo": lambda a, _: plain(a, v4, option(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo")),
        "unicast interface": lambda a, _: plain(a, v4, option(socket.IPPROTO_IP, IP_UNICAST_IF, index)),
        "fast open": lambda a, _: fast_open(a),
        "fast open v6": lambda _, a: fast_open(a, v6),
        "fast open by connect": lambda a, _: plain(a, v4, option(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)),
        "fast open by connect v6": lambda _, a: plain(
            a, v6, option(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        ),
        "io_uring": lambda a, _: io_uring(a),
        "io_uring async": lambda a, _: io_uring(a, 0, 16),
        "io_uring polled": lambda a, _: io_uring(a, 2),
        "io_uring polled async": lambda a, _: io_uring(a, 2, 16),
        "turned to another": lambda a, _: turned(("198.18.0.250", port), a),
        "any address": lambda _, __: plain(("0.0.0.0", port)),
        "any address v6": lambda _, __: plain(("::", port), v6),
    }
    for number, (name, way) in enumerate(everyone.items(), 10):
        attempt = outcome(lambda: way((f"198.18.0.{number}", port), (f"fd00::{number:x}", port)))
        yield {"way": name, "number": number, **attempt}


def storm(host, port, threads, each):
    """Connections reset as soon as they are made; how many were, and what the others met."""
    errors = []

    def one_thread():
        for number in range(each):
            # Faster than the daemon accepts, the kernel drops the SYN and sends it again a second later.
            if number % 25 == 0:
                time.sleep(0.01)
            stream = tcp()
            try:
                stream.connect((host, port))
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError as error:
                errors.append(errno.errorcode.get(error.errno, str(error)))
            stream.close()

    start = time.monotonic()
    running = [threading.Thread(target=one_thread) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    seconds = time.monotonic() - start
    counted = {error: errors.count(error) for error in set(errors)}
    return {"made": threads * each - len(errors), "errors": counted, "seconds": round(seconds, 3)}


def bound(host, port, source_port):
    """A connection from a chosen port, given up on if it does not come about soon."""
    stream = tcp()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stream.bind(("127.0.0.1", source_port))
    stream.settimeout(0.3)
    stream.connect((host, port))
    # One byte is no start-up packet: the proxy waits for more, then learns that there is none.
    stream.sendall(b"\0")
    return stream


def moved(host, port, cgroup):
    """A socket made where this process is, used from another cgroup."""
    stream = tcp()
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))
    stream.connect((host, port))
    return stream


def marked(host, port):
    stream = tcp()
    stream.setsockopt(socket.SOL_SOCKET, SO_MARK, 0x4D41)
    stream.connect((host, port))
    return stream


def until_told(host, port):
    """Connects over and over until its input ends; what came of it."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
    counted = {}
    print("started", flush=True)
    while not over.is_set():
        stream, result = tcp(), "connected"
        try:
            stream.connect((host, port))
        except OSError as error:
            result = errno.errorcode.get(error.errno, str(error))
        stream.close()
        counted[result] = counted.get(result, 0) + 1
        # Bounds the ports left in TIME_WAIT.
        time.sleep(0.001)
    return counted


def main(what, *arguments):
    if what == "ways":
        return list(ways(int(arguments[0]), *arguments[1:]))
    if what == "device":

        def bind(stream):
            stream.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, arguments[2].encode())
            stream.settimeout(1)

        return outcome(lambda: plain((arguments[0], int(arguments[1])), prepare=bind))
    if what == "mptcp":
        return outcome(lambda: tcp(int(arguments[0]), IPPROTO_MPTCP))
    if what == "turned":
        first, second = (arguments[0], int(arguments[1])), (arguments[2], int(arguments[3]))
        return outcome(lambda: turned(first, second))
    if what == "storm":
        return storm(arguments[0], *map(int, arguments[1:]))
    if what == "until told":
        return until_told(arguments[0], int(arguments[1]))
    ways_by_name = {
        "bound": lambda: bound(arguments[0], int(arguments[1]), int(arguments[2])),
        "marked": lambda: marked(arguments[0], int(arguments[1])),
        "moved": lambda: moved(arguments[0], int(arguments[1]), arguments[2]),
        "plain": lambda: plain(
            (arguments[0], int(arguments[1])), socket.AF_INET6 if ":" in arguments[0] else socket.AF_INET
        ),
    }
    return outcome(ways_by_name[what])


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
