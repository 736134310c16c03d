"""Says streams of a client's messages, changed by chance, to a server; prints what came of each as a line of JSON.

The same seed makes the same stream, so that what a server says directly and through something else can be compared.
"""

import concurrent.futures
import json
import random
import socket
import struct
import sys

MARKER = b"the marker"
STATEMENTS = [
    "select 1",
    "select label from parts order by id",
    "select 1; select 'two'; select 3",
    "select id, city from customers where id = 1",
    "begin",
    "commit",
    "rollback",
    "savepoint s",
    "rollback to s",
    "select 1 / 0",
    "select nothing",
    "selct",
    "",
    ";",
    "set local work_mem = '1MB'",
    "show work_mem",
    "create temp table if not exists t (a int, b text)",
    "insert into t values (1, 'x')",
    "copy t from stdin",
    "copy t from stdin with (format csv)",
    "copy parts to stdout",
    "prepare p as select $1::int",
    "execute p(4)",
    "deallocate all",
    "declare c cursor with hold for select generate_series(1, 5)",
    "fetch 2 from c",
    "listen channel",
]
PREPARED = ["select $1::int", "select label from parts where id = $1::int", "select 1", "selct", "copy t from stdin"]
NAMES = ["", "s1", "s2"]


def frame(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def query(sql):
    return frame(b"Q", sql.encode() + b"\0")


def text(value):
    return value.encode() + b"\0"


def bind(rng, portal, statement):
    values = rng.choice([[b"1"], [b"1"], [], [None], [b"x"], [b"1", b"2"]])
    body = text(portal) + text(statement) + struct.pack("!HH", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return frame(b"B", body + rng.choice([b"\0\0", b"\0\1\0\1", b"\0\1\0\0"]))


def extended(rng):
    statement, portal = rng.choice(NAMES), rng.choice(NAMES)
    made = [frame(b"P", text(statement) + text(rng.choice(PREPARED)) + b"\0\0")]
    if rng.random() < 0.4:
        made.append(frame(b"D", b"S" + text(statement)))
    made.append(bind(rng, portal, statement))
    if rng.random() < 0.5:
        made.append(frame(b"D", b"P" + text(portal)))
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        made.append(frame(b"E", text(portal) + struct.pack("!I", rng.choice([0, 0, 1, 2]))))
    if rng.random() < 0.2:
        made.append(frame(b"C", rng.choice([b"S", b"P"]) + text(rng.choice(NAMES))))
    if rng.random() < 0.2:
        made.append(frame(b"H"))
    if rng.random() < 0.8:
        made.append(frame(b"S"))
    return made


def copied(rng):
    lines = [b"1\tone\n", b"2\ttwo\n", b"\\.\n", b"x\n", b"3,\"three\"\n"]
    made = [frame(b"d", rng.choice(lines)) for _ in range(rng.choice([0, 1, 2]))]
    return made + [rng.choice([frame(b"c"), frame(b"f", b"no more\0"), frame(b"S"), frame(b"H")])]


def conversation(rng):
    made = []
    for _ in range(rng.randint(1, 5)):
        form = rng.random()
        if form < 0.45:
            sql = rng.choice(STATEMENTS)
            made.append(query(sql))
            if sql.startswith("copy t"):
                made += copied(rng)
        elif form < 0.9:
            made += extended(rng)
        else:
            made += copied(rng)
    return made


def change(rng, made):
    at = rng.randrange(len(made))
    what = rng.randrange(12)
    one = made[at]
    if what == 0:
        length = rng.choice([0, 3, 4, 5, len(one), len(one) - 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 70000])
        made[at] = one[:1] + struct.pack("!I", length & 0xFFFFFFFF) + one[5:]
    elif what == 1:
        place = rng.randrange(len(one))
        made[at] = one[:place] + bytes([rng.randrange(256)]) + one[place + 1 :]
    elif what == 2:
        del made[at]
    elif what == 3:
        made.insert(at, one)
    elif what == 4:
        other = rng.randrange(len(made))
        made[at], made[other] = made[other], made[at]
    elif what == 5:
        body = one[5 : 5 + rng.randrange(len(one) - 4)]
        made[at] = frame(one[:1], body)
    elif what == 6:
        made[at] = bytes([rng.choice(b"QPBDECHSFdcfXpA\0!v~")]) + one[1:]
    elif what == 7:
        made.insert(at, frame(bytes([rng.choice(b"HSdcfpF!\0")]), rng.randbytes(rng.randrange(6))))
    elif what == 8:
        made[at] = frame(one[:1], one[5:] + rng.choice([b"\0", b"x", b"\0\0\0\0", rng.randbytes(4)]))
    elif what == 9:
        made[at] = frame(one[:1], one[5:].replace(b"\0", b"", 1))
    elif what == 10:
        made.insert(at, struct.pack("!II", 8, rng.choice([80877103, 80877104, 196608, 80877102])))
    else:
        made[at] = frame(one[:1], one[5:].replace(b"\0\0", rng.choice([b"\xff\xff", b"\0\1", b"\0\3"]), 1))


def stream(seed):
    rng = random.Random(seed)
    made = conversation(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        if made:
            change(rng, made)
    said = b"".join(made)
    cuts = sorted(rng.randrange(len(said) + 1) for _ in range(rng.choice([0, 0, 1, 3])))
    return [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)]) if start < end]


class Answer:
    """The messages of a server as they come."""

    def __init__(self, link):
        self.link, self.held = link, b""

    def next(self):
        while len(self.held) < 5 or len(self.held) < 1 + struct.unpack("!I", self.held[1:5])[0]:
            data = self.link.recv(65536)
            if not data:
                raise EOFError
            self.held += data
        end = 1 + struct.unpack("!I", self.held[1:5])[0]
        kind, body, self.held = self.held[:1], self.held[5:end], self.held[end:]
        return kind, body


def fields(body):
    return {field[:1].decode(): field[1:].decode(errors="replace") for field in body.split(b"\0") if field}


def columns(body):
    """A description without the tables' numbers, which those of temporary tables never share."""
    told, at = body[:2], 2
    while at < len(body):
        end = body.index(b"\0", at) + 1
        told += body[at:end] + body[end + 4 : end + 18]
        at = end + 18
    return told


def tell(kind, body):
    """What of a message has to be the same; of an error, that it is one and whether it ends the session."""
    if kind == b"E":
        told = fields(body)
        return ["E", told.get("V"), told.get("C"), told.get("M")]
    if kind == b"T":
        body = columns(body)
    if kind in b"DCZGHdcTtsn123IW":
        return [kind.decode(), body.hex()]
    return [kind.decode()]


def say(port, seed, patience):
    told, ended = [], "waits"
    link = socket.create_connection(("127.0.0.1", port), timeout=60)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
    link.sendall(struct.pack("!I", len(body) + 4) + body)
    answer = Answer(link)
    while answer.next()[0] != b"Z":
        pass
    link.settimeout(patience)
    try:
        for piece in stream(seed):
            link.sendall(piece)
        # Whatever was begun is over by now, unless a message is still expected to have more bytes.
        link.sendall(frame(b"c") + frame(b"S") + query("select '" + MARKER.decode() + "'"))
    except OSError:
        pass
    try:
        while True:
            kind, body = answer.next()
            # Settings, notices and notifications come by themselves.
            if kind not in b"SNA":
                told.append(tell(kind, body))
            if kind == b"D" and body.endswith(MARKER):
                ended = "goes on"
                while answer.next()[0] != b"Z":
                    pass
                break
    except socket.timeout:
        pass
    except (EOFError, OSError):
        ended = "closed" if ended == "waits" else ended
    link.close()
    return {"seed": seed, "told": told, "ended": ended}


if __name__ == "__main__":
    port, patience, *seeds = int(sys.argv[1]), float(sys.argv[2]), *map(int, sys.argv[3:])
    if len(seeds) == 2 and seeds[0] < seeds[1]:
        seeds = range(seeds[0], seeds[1])
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for said in pool.map(lambda seed: say(port, seed, patience), seeds):
            print(json.dumps(said))
