"""pgbench: its own tables and transactions, and scripts in each form of the protocol."""

import re
import subprocess
import tempfile

import common

BASE = f"{common.DSN}?sslrootcert={common.ROOT}"


def pgbench(*arguments, dsn=BASE):
    ran = subprocess.run(["pgbench", *arguments, dsn], capture_output=True, text=True, timeout=120)
    # What it measured is another time each time.
    told = [line for line in ran.stdout.splitlines() if re.match(r"transaction type|query mode|number of|latency|tps", line)]
    return [ran.returncode, [re.sub(r"(latency|initial|tps).*", r"\1", line) for line in told], complaints(ran.stderr)]


def complaints(text):
    return [re.sub(r"[\d.]+ s(ec|,|\b)?", "TIME", line) for line in text.splitlines() if re.search("error|fatal|ERROR", line)]


def scripted(text, *arguments, **more):
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(text)
        file.flush()
        got = pgbench("-n", "-t", "20", "-f", file.name, *arguments, **more)
        return [got[0], *[[line.replace(file.name, "script") for line in lines] for lines in got[1:]]]


def asked(sql):
    return subprocess.run(["psql", "-X", "-A", "-t", "-c", sql, BASE], capture_output=True, text=True).stdout


def mode(name):
    return scripted("select 41 + 1;\n", dsn=f"{BASE}&sslmode={name}")


PART = "\\set id random(1, 3)\nselect id, label from parts where id = :id \\gset\nselect :id + 1;\n"


def simple():
    return scripted(PART, "-M", "simple")


def parameters():
    return scripted(PART, "-M", "extended")


def prepared():
    return scripted(PART, "-M", "prepared")


def pipeline():
    script = "\\startpipeline\n" + "select label from parts where id = 1;\n" * 20 + "\\endpipeline\nselect 1;\n"
    return [scripted(script, "-M", form) for form in ("extended", "prepared")]


def transaction():
    got = [pgbench("-i", "-s", "1", "-q")]
    # One client after the other, with the same numbers by chance, leaves the same.
    for form in ("simple", "extended", "prepared"):
        got.append(pgbench("-n", "-t", "20", "-c", "1", "-M", form, "--random-seed=7"))
        got.append(asked("select sum(abalance), count(*) filter (where abalance <> 0) from pgbench_accounts"))
    got.append(pgbench("-n", "-t", "10", "-c", "4", "-j", "2", "-b", "select-only"))
    got.append(scripted("begin;\nselect 1 / 0;\nend;\n"))
    got.append(asked("select count(*) from pgbench_history"))
    return got + [pgbench("-i", "-I", "d")]


def copy():
    # Its tables are filled by COPY.
    got = [pgbench("-i", "-I", "dtgvp", "-s", "1", "-q"), asked("select count(*), sum(aid) from pgbench_accounts")]
    return got + [pgbench("-i", "-I", "d")]


def password():
    return scripted("select 1;\n", dsn=BASE.replace("clear-secret", "wrong"))


version = subprocess.run(["pgbench", "--version"], capture_output=True, text=True).stdout.split()
features = {f"sslmode {name}": lambda name=name: mode(name) for name in common.MODES}
for work in (simple, parameters, prepared, pipeline, transaction, copy, password):
    features[work.__name__] = work
common.run(f"pgbench {version[2]}", features)
