"""netusage among other programs: how it prints their texts, programs of quotas, and machines on which something is missing."""

import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import pty
import signal
import socket
import subprocess
import threading
import time
import unicodedata

import pytest

from support import BINARY, PATIENCE, ROOT, Exporter, eventually, stuck

# Characters that control a terminal: clear, a C1 introducer, DEL, a change of the writing direction, a line separator. A device's name has
# 15 bytes at most.
HOSTILE = "\x1b[2J\x9b\x7f\u202e\u2028"
DEVICE = "d" + HOSTILE


def steering(text):
    """The characters of a text that control a terminal, without line ends."""
    return [letter for letter in text if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")]


def ask(*arguments, **options):
    done = subprocess.run([BINARY, *arguments], capture_output=True, timeout=60 * PATIENCE, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def http_answer(body, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@contextlib.contextmanager
def foreign_daemon(ledger, answer):
    """Another program listens at the daemon's socket, and gives each request the same answer. `answer` is bytes, or pieces with pauses
    between them, in seconds."""
    path = f"{ledger}.control"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        if not (request := connection.recv(65536)):
                            continue  # Somebody only looked whether it listens.
                        for piece in [answer] if isinstance(answer, bytes) else answer(request):
                            time.sleep(piece) if isinstance(piece, float) else connection.sendall(piece)
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def test_no_name_steers_a_terminal(cable, exporter, tmp_path):
    near, _ = cable
    near.ip("link", "set", "wan0", "down")
    near.ip("link", "set", "wan0", "name", DEVICE)
    near.ip("link", "set", DEVICE, "alias", HOSTILE, "up")
    near.ip("route", "replace", "default", "via", "10.0.0.2", "dev", DEVICE)
    (tmp_path / "netusage.yaml").write_text("quotas: [{ name: q, count: ['*'], limit: 1 kB }]\n")
    flags = [f"--config.file={tmp_path}/netusage.yaml", f"--storage.path={tmp_path}/ledger.db"]
    logs = [exporter(near, flags[0])]
    near.send("10.0.0.2", 100)
    commands = [["today"], ["days", "--device", "d*"], ["recent", "--device", "d*"], ["quota"], ["doctor"], ["check"], ["export"],
                ["export", "--format", "json"], ["live", "-n", "1"], ["today", "--device", "nothing"]]
    eventually(lambda: "[2J" in near.exec(BINARY, "today", *flags))

    def printed():
        for command in commands:
            for json_flag in ([], ["--json"]) if command[0] not in ("check", "export") else ([],):
                done = subprocess.run(["ip", "netns", "exec", near.name, BINARY, *command, *json_flag, *flags], capture_output=True,
                                      timeout=60 * PATIENCE)
                if command != ["export"]:  # CSV keeps names as they are, unless a terminal shows it.
                    yield command, (done.stdout + done.stderr).decode()

    def answered():
        for path in ("status", "live", "usage", "quotas", "usage?device=%1B%C2%9B", "export?format=json"):
            yield path, near.get(10073, f"/api/v1/{path}").body.decode()

    for about, text in [*printed(), *answered()]:
        assert not steering(text), (about, text)
    assert any(account["name"] == DEVICE for account in json.loads(near.get(10073, "/api/v1/live").body)["accounts"])
    logs[0].stop()
    for about, text in printed():
        assert not steering(text), (about, text)
    (tmp_path / "again").mkdir()
    logs.append(exporter(near, flags[0], "--log.format=json", directory=tmp_path / "again", ledger=tmp_path / "ledger.db"))
    for log in logs:
        eventually(lambda: "2J" in log.log)
        assert not steering(log.log), log.log
        assert "\\u009b\\u007f\\u202e\\u2028" in log.log


def test_no_argument_steers_a_terminal(tmp_path):
    for arguments in (["check", HOSTILE], ["check", "--used", HOSTILE], ["days", "-n", HOSTILE], [HOSTILE], ["today", "--" + HOSTILE],
                      ["quota", "top-up", "q", HOSTILE], ["quota", "correct", "q", "--used", "1 GB", "--at", HOSTILE],
                      ["config", "check", HOSTILE], ["serve", "--web.listen-address", HOSTILE], ["export", "--label", HOSTILE],
                      ["import", "csv", HOSTILE], ["service", "install", "--config.file", "/" + HOSTILE], ["today", "--device", HOSTILE],
                      ["doctor", "--config.file", HOSTILE], ["summary", "--since", HOSTILE], ["export", "-o", "/" + HOSTILE]):
        code, output, errors = ask(*arguments, env={**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)})
        assert code != 0 and output + errors, arguments
        assert not steering(output + errors), (arguments, output + errors)
    good = tmp_path / ("good" + HOSTILE)
    good.write_text("week_starts: sunday\n")
    code, output, _ = ask("config", "check", good)
    assert (code, steering(output)) == (0, []) and "good" in output
    good.write_text(f'quotas: [{{ name: "\\x1b[2J\\u009b\\u202e", limit: 1 GB }}]\n')
    code, _, errors = ask("config", "check", good)
    assert (code, steering(errors)) == (78, [])


def test_a_stranger_in_the_daemons_place_doesnt_steer_a_terminal(tmp_path):
    (tmp_path / "netusage.yaml").write_text("quotas: [{ name: q, count: [lo], limit: 1 GB }]\n")
    flags = [f"--config.file={tmp_path}/netusage.yaml", f"--storage.path={tmp_path}/ledger.db"]
    answer = http_answer(json.dumps({"error": "\x1b]0;owned\x07" + HOSTILE + "\x1b[31m"}, ensure_ascii=False).encode(), "400 Bad Request")
    with foreign_daemon(tmp_path / "ledger.db", answer):
        for command in (["quota"], ["quota", "nothing"], ["quota", "top-up", "q", "1 GB"], ["today"], ["check"], ["quota", "--json"]):
            _, output, errors = ask(*command, *flags)
            assert not steering(output + errors), (command, output + errors)


def test_a_stranger_in_the_daemons_place_holds_up_nobody(tmp_path):
    """One stranger answers in drops, one without an end, and one doesn't even accept the request."""
    (tmp_path / "netusage.yaml").write_text("quotas: [{ name: q, count: [lo], limit: 1 GB }]\n")
    rows = "".join(f"2026-11-01T00:{number:02}:00Z,2026-11-01T00:{number + 1:02}:00Z,eth0,device,1,1\n" for number in range(50))
    (tmp_path / "rows.csv").write_text("start,end,device,kind,received_bytes,transmitted_bytes\n" + rows)

    def order(name, *arguments):
        flags = [f"--config.file={tmp_path}/netusage.yaml", f"--storage.path={tmp_path}/{name}.db"]
        return subprocess.Popen([BINARY, *arguments, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def drops(_):
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        while True:
            yield b" "
            yield 0.5

    def endless(_):
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        for _ in range(70):
            yield b"x" * (1 << 20)
        yield 60.0

    with contextlib.ExitStack() as strangers:
        strangers.enter_context(foreign_daemon(tmp_path / "drops.db", drops))
        strangers.enter_context(foreign_daemon(tmp_path / "endless.db", endless))
        # The queue of this stranger's socket is full.
        deaf = strangers.enter_context(socket.socket(socket.AF_UNIX))
        deaf.bind(f"{tmp_path}/deaf.db.control")
        deaf.listen(0)
        strangers.enter_context(socket.socket(socket.AF_UNIX)).connect(f"{tmp_path}/deaf.db.control")
        started = time.monotonic()
        orders = {name: order(name, "quota", "top-up", "q", "1 GB") for name in ("drops", "endless", "deaf")}
        told = {name: process.communicate(timeout=50 * PATIENCE)[1] for name, process in orders.items()}
    assert time.monotonic() - started < 40 * PATIENCE
    assert "it doesn't answer within 30 s; look with netusage quota whether it was done" in told["drops"]
    assert "its answer is longer than 64 MiB" in told["endless"]
    assert "it doesn't answer within 30 s" in told["deaf"]
    assert all(process.returncode == 1 for process in orders.values())


EXTREMES = [0, -1, 1, 2**63 - 1, -2**63, 2**64 - 1, 1.7e308, -1.7e308, 5e-324]


def with_numbers(answer, key, number):
    """The answer with this number in place of each number under this key."""
    if isinstance(answer, dict):
        return {name: number if name == key and type(value) in (int, float) else with_numbers(value, key, number) for name, value in answer.items()}
    return [with_numbers(value, key, number) for value in answer] if isinstance(answer, list) else answer


def number_keys(answer):
    if isinstance(answer, dict):
        return {name for name, value in answer.items() if type(value) in (int, float)}.union(*map(number_keys, answer.values()))
    return set().union(*map(number_keys, answer)) if isinstance(answer, list) else set()


@pytest.mark.parametrize("command", [["quota"], ["check"], ["today"], ["days"]], ids=" ".join)
def test_no_number_of_a_stranger_ends_a_command_by_a_signal(cable, exporter, tmp_path, command):
    near, _ = cable
    (tmp_path / "netusage.yaml").write_text(
        "quotas: [{ name: q, limit: 1 GB, warn_at: [80%], rollover: { max: 1 GB }, price: { currency: EUR, base: 1 } }]\n"
        "rate_limits: [{ name: r, limit: 1 MB/s }]\ncommitted_rates: [{ name: c, limit: 1 Mbit/s }]\n")
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml", ledger=tmp_path / "real.db")
    near.send("10.0.0.2", 10)
    change = ("nothing", 0)
    answers = []

    def changed(request):
        with socket.socket(socket.AF_UNIX) as real:
            real.connect(f"{daemon.ledger}.control")
            real.sendall(request)
            with real.makefile("rb") as answer:
                answers.append(json.loads(answer.read().split(b"\r\n\r\n", 1)[1]))
        yield http_answer(json.dumps(with_numbers(answers[-1], *change)).encode())

    with foreign_daemon(tmp_path / "ledger.db", changed):
        def told():
            master, slave = pty.openpty()
            process = subprocess.Popen([BINARY, *command, f"--storage.path={tmp_path}/ledger.db"], stdin=slave, stdout=slave, stderr=slave)
            os.close(slave)
            shown = b""
            with contextlib.suppress(OSError):
                while piece := os.read(master, 65536):
                    shown += piece
            os.close(master)
            return process.wait(20 * PATIENCE), shown

        eventually(lambda: told()[0] == 0)
        keys = number_keys(answers[-1])
        assert keys
        for key in sorted(keys):
            for number in EXTREMES:
                change = (key, number)
                code, shown = told()
                assert code >= 0, (change, shown)


def test_an_export_that_takes_long_shows_how_much_it_has(tmp_path):
    def slow(request):
        if b"/live" in request:
            yield http_answer(json.dumps({"as_of": "2026-11-21T12:00:00Z", "online": True, "accounts": []}).encode())
            return
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(3):
            yield 0.6
            yield b"3\r\nabc\r\n"
        yield b"0\r\n\r\n"

    def broken(request):
        yield from [piece for piece in slow(request) if piece != b"0\r\n\r\n"]

    master, slave = pty.openpty()
    command = [BINARY, "export", f"--storage.path={tmp_path}/ledger.db", f"--output={tmp_path}/out"]
    with foreign_daemon(tmp_path / "ledger.db", slow):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave)
        assert process.wait(30 * PATIENCE) == 0
    os.close(slave)
    assert b"9 B" in os.read(master, 65536), "the bytes were shown"
    os.close(master)
    assert (tmp_path / "out").read_bytes() == b"abc" * 3
    (tmp_path / "ledger.db.control").unlink()
    with foreign_daemon(tmp_path / "ledger.db", broken):
        code, _, errors = ask("export", *command[2:])
    assert code == 1 and "it ended in the midst of its answer" in errors
    assert (tmp_path / "out").read_bytes() == b"abc" * 3, "half an export is no export"


def test_an_export_on_a_terminal_doesnt_steer_it(cable, exporter, tmp_path):
    near, _ = cable
    near.bridge(DEVICE, 7)
    daemon = exporter(near)
    near.send("10.7.0.2", 10)
    daemon.stop()
    command = [BINARY, "export", f"--storage.path={daemon.ledger}"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert DEVICE in raw
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdout=slave, stderr=slave)
    assert process.wait(20) == 0
    os.close(slave)
    shown = os.read(master, 65536).decode().replace("\r", "")
    os.close(master)
    assert "d\N{REPLACEMENT CHARACTER}[2J" in shown and not steering(shown)


def test_the_demonstration_prints_notifications_as_text_and_waits_for_nobody(capsys):
    specification = importlib.util.spec_from_file_location("demo", ROOT / "deploy/demo.py")
    demo = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(demo)
    server = demo.webhook(0)
    try:
        with socket.create_connection(server.server_address) as silent:
            alert = {"status": "firing", "labels": {"severity": "warning"}, "annotations": {"summary": HOSTILE, "description": HOSTILE}}
            connection = http.client.HTTPConnection(*server.server_address, timeout=3)
            connection.request("POST", "/", json.dumps({"alerts": [alert]}))
            assert connection.getresponse().status == 200
            connection.close()
            shown = eventually(lambda: capsys.readouterr().out)
            assert "[2J" in shown and not steering(shown)
            silent.settimeout(10 * PATIENCE)
            assert silent.recv(1) == b"", "a silent connection is closed"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("command, code", [
    (["check"], 3), (["check", "--wrong"], 3), (["doctor"], 1), (["today"], 1), (["config", "check"], 1), (["--help"], 1), (["--version"], 1),
    (["export"], 1), (["quota", "top-up", "q", "1 GB"], 1), (["live"], 1)])
def test_what_cant_be_written_is_an_error(cable, exporter, tmp_path, command, code):
    near, _ = cable
    (tmp_path / "netusage.yaml").write_text("quotas: [{ name: q, count: [lo], limit: 1 GB }]\n")
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    near.send("127.0.0.1", 10)
    daemon.stop()
    flags = [] if command[0].startswith("-") else [f"--config.file={tmp_path}/netusage.yaml", f"--storage.path={daemon.ledger}"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, *command, *flags], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code and "standard output can't be written: No space left" in done.stderr, done


def test_a_dash_is_standard_output(cable, exporter, tmp_path):
    near, _ = cable
    daemon = exporter(near)
    near.send("10.0.0.2", 10)
    daemon.stop()
    code, output, _ = ask("export", "-o", "-", f"--storage.path={daemon.ledger}", cwd=tmp_path)
    assert code == 0 and "wan0" in output
    assert not (tmp_path / "-").exists()


def test_without_proc_no_command_is_taken_for_none(tmp_path):
    for arguments in ("serve", "check", "--version"):
        done = subprocess.run(["unshare", "-m", "sh", "-c", f"umount -l /proc; {BINARY} {arguments}"], capture_output=True, text=True)
        assert done.returncode == 1 and "mount /proc" in done.stderr and done.stdout == "", done


def reaping_daemon(tmp_path, near, run, *prefix, environment=None):
    """A daemon with the quotas in `run`. `prefix` starts it, for example `unshare`, for the first process of a container."""
    (tmp_path / "netusage.yaml").write_text("sampling: { interval: 200ms }\nquotas:\n" + run)
    return Exporter(near, tmp_path, f"--config.file={tmp_path}/netusage.yaml", prefix=prefix, environment=environment)


def test_as_first_process_it_takes_orphans_and_nobodys_status(cable, tmp_path):
    near, _ = cable
    leaves = tmp_path / "leaves"
    leaves.write_text("#!/bin/sh\nfor i in 1 2 3; do (sleep 0.5) & done\n")
    leaves.chmod(0o755)
    quotas = f"  - {{ name: leaves, limit: 1 kB, run: [{leaves}] }}\n  - {{ name: good, limit: 1 kB, run: [/bin/true] }}\n"
    # These programs end at moments that are independent of the daemon's own rhythm.
    quotas += "".join(f"  - {{ name: fails{number}, limit: 1 kB, run: [/bin/sh, -c, 'sleep {1 + number * 0.07}; exit 7'] }}\n" for number in range(20))
    daemon = reaping_daemon(tmp_path, near, quotas, "unshare", "-pf", "--mount-proc")
    try:
        first = int(eventually(lambda: pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text()))

        def children():
            states = []
            for number in pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split():
                with contextlib.suppress(OSError):
                    states.append(pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0])
            return states

        near.send("10.0.0.2", 10)
        eventually(lambda: daemon.log.count("a quota's program ended") == 2 and daemon.log.count("it ended with 7") == 20)
        time.sleep(1)
        eventually(lambda: children() == [], 5)
    finally:
        os.kill(first, signal.SIGTERM)
        assert daemon.process.wait(20 * PATIENCE) == 0


def test_the_log_and_the_program_of_a_quota_get_no_secrets(cable, tmp_path):
    near, _ = cable
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment.part; mv {tmp_path}/environment.part {tmp_path}/environment\n")
    program.chmod(0o755)
    quotas = f"  - {{ name: q, limit: 1 kB, run: [{program}, '--token=S3cret', two] }}\n"
    quotas += "  - { name: wrong, limit: 1 kB, run: ['/bin/true --token=S3cret'] }\n"
    kept = b"\xffyes\xc3"
    secret = {"CREDENTIALS_DIRECTORY": "/run/credentials", "RUNTIME_DIRECTORY": "/run/netusage", "JOURNAL_STREAM": "8:1",
              "KEPT": os.fsdecode(kept)}
    daemon = reaping_daemon(tmp_path, near, quotas, environment=secret)
    try:
        near.send("10.0.0.2", 10)
        eventually((tmp_path / "environment").exists)
        eventually(lambda: "a quota's program ended" in daemon.log)
        lines = os.fsdecode((tmp_path / "environment").read_bytes()).split("\n")
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        assert os.fsencode(variables["KEPT"]) == kept and variables["PATH"] == os.environ["PATH"] and variables["NETUSAGE_QUOTA"] == "q"
        assert not variables.keys() & (secret.keys() - {"KEPT"})
        eventually(lambda: 'program="/bin/true …"' in daemon.log)
        assert f"program={program}" in daemon.log and "arguments=2" in daemon.log and "S3cret" not in daemon.log
    finally:
        daemon.close()


def test_programs_that_hang_hold_up_no_other_quotas(cable, tmp_path):
    near, _ = cable
    quotas = "".join(f"  - {{ name: hangs{number}, limit: 1 kB, run: [/bin/sh, -c, 'echo $$ >> {tmp_path}/pids; exec sleep 1000'] }}\n"
                     for number in range(20))
    quotas += "  - { name: last, limit: 2 kB, run: [/bin/true] }\n"
    daemon = reaping_daemon(tmp_path, near, quotas)
    try:
        near.send("10.0.0.2", 1, 1100)
        eventually(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 20)
        near.send("10.0.0.2", 10)
        eventually(lambda: "quota=last" in daemon.log.partition("a quota's program ended")[2])
        daemon.stop()
        for number in (tmp_path / "pids").read_text().split():
            os.kill(int(number), 0)  # As documented, the programs go on after the daemon's end.
    finally:
        daemon.close()
        for number in (tmp_path / "pids").read_text().split():
            os.kill(int(number), signal.SIGKILL)


def test_programs_whose_file_system_doesnt_answer_hold_up_nothing_else(cable, tmp_path):
    near, _ = cable
    environment = stuck(tmp_path)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    # More programs than a shared pool has threads: one thread for each processor.
    quotas = "".join(f"  - {{ name: stuck{number}, limit: 1 kB, run: [{program}] }}\n" for number in range((os.cpu_count() or 1) + 1))
    quotas += "  - { name: last, limit: 2 kB, run: [/bin/true] }\n"
    daemon = reaping_daemon(tmp_path, near, quotas, environment=environment)
    try:
        (tmp_path / "stuck").write_text(f"0 {program}")
        near.send("10.0.0.2", 1, 1100)
        eventually(lambda: "quota=stuck0" in daemon.log)
        near.send("10.0.0.2", 10)
        eventually(lambda: "quota=last" in daemon.log.partition("a quota's program ended")[2])
        eventually(lambda: daemon.log.count("can't be started, as its file system doesn't answer") > (os.cpu_count() or 1), 20)
        (tmp_path / "stuck").write_text("")
        eventually(lambda: daemon.log.count("a quota's program ended") == (os.cpu_count() or 1) + 2)
        assert daemon.metrics()
    finally:
        daemon.close()


def test_a_program_that_never_starts_doesnt_hold_up_the_end(cable, tmp_path):
    near, _ = cable
    environment = stuck(tmp_path)
    daemon = reaping_daemon(tmp_path, near, "  - { name: q, limit: 1 kB, run: [/bin/true] }\n", environment=environment)
    try:
        (tmp_path / "stuck").write_text("0 /bin/true")
        near.send("10.0.0.2", 10)
        eventually(lambda: "quota=q" in daemon.log)
        time.sleep(1)
        began = time.monotonic()
        daemon.stop()
        assert time.monotonic() - began < 3 * PATIENCE
    finally:
        daemon.close()


def test_a_zone_that_is_missing_is_named_and_isnt_utc(tmp_path):
    place = f"--storage.path={tmp_path}/ledger.db"
    code, _, errors = ask("serve", place, env={**os.environ, "TZ": "Europe/Berlin", "TZDIR": "/nonexistent"})
    assert code == 78 and "The zone Europe/Berlin isn't in /nonexistent; check TZDIR" in errors, errors
    link = "mount --bind $0 /etc; ln -sfn /usr/share/zoneinfo/Europe/Nowhere /etc/localtime; exec \"$@\""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("TZ", "TZDIR")}
    for command in (["serve"], ["today"]):
        done = subprocess.run(["unshare", "-m", "sh", "-c", link, etc, BINARY, *command, place], capture_output=True, text=True, env=environment,
                              timeout=60)
        assert done.returncode != 0 and "/etc/localtime is a link to /usr/share/zoneinfo/Europe/Nowhere" in done.stderr, done
    # Apply the remedy that the message names.
    done = subprocess.run(["unshare", "-m", "sh", "-c", link.replace("Europe/Nowhere", "Europe/Berlin"), etc, BINARY, "today", place],
                          capture_output=True, text=True, env=environment)
    assert "there is no ledger" in done.stderr.lower() or "netusage serve" in done.stderr, done
    assert "localtime" not in done.stderr, done


@pytest.mark.parametrize("trap", ["link", "dangling", "fifo"])
def test_the_csv_log_follows_no_link(cable, exporter, tmp_path, trap):
    near, _ = cable
    victim = tmp_path / "victim"
    if trap == "link":
        victim.write_text("first\nunfinished")
    directory = tmp_path / "csv"
    directory.mkdir()
    for days in (-1, 0, 1):
        path = directory / time.strftime("network_usage_%Y-%m-%d.csv", time.gmtime(time.time() + days * 86400))
        os.mkfifo(path) if trap == "fifo" else path.symlink_to(victim)
    (tmp_path / "netusage.yaml").write_text(f"timezone: UTC\ncsv_log: {{ directory: {directory}, device: wan0 }}\n")
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    eventually(lambda: "the CSV log can't be written" in daemon.log)
    assert "remove it, or name another directory" in daemon.log
    assert ("isn't a plain file" if trap == "fifo" else "is a symbolic link") in daemon.log
    time.sleep(1.5)
    assert daemon.log.count("the CSV log can't be written") == 1
    assert victim.read_text() == "first\nunfinished" if trap == "link" else not victim.exists()
    # Apply the remedy: remove the file.
    for path in directory.iterdir():
        path.unlink()
    daemon.stop()
    os.chown(directory, 4321, 4322)
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    path, = eventually(lambda: [path for path in directory.iterdir() if path.stat().st_size])
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (4321, 4322, 0o640), "root's files are the directory owner's"


def test_a_csv_file_of_yesterday_that_cant_be_written_keeps_no_line_of_today_back(cable, exporter, tmp_path):
    near, _ = cable
    directory = tmp_path / "csv"
    directory.mkdir()
    yesterday, today = (directory / time.strftime("network_usage_%Y-%m-%d.csv", time.gmtime(time.time() + days * 86400)) for days in (-1, 0))
    (tmp_path / "old").write_text("timestamp,sent_mb,received_mb,total_mb\r\n")
    yesterday.symlink_to(tmp_path / "old")
    (tmp_path / "netusage.yaml").write_text(f"timezone: UTC\ncsv_log: {{ directory: {directory}, device: wan0 }}\n")
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    assert eventually(lambda: today.exists() and today.read_text().count("\n") == 2)
    assert yesterday.name in daemon.log and "is a symbolic link" in daemon.log


def test_a_csv_log_whose_file_system_doesnt_answer_stops_no_commit(cable, exporter, tmp_path):
    near, _ = cable
    environment = stuck(tmp_path)
    path = tmp_path / "csv" / time.strftime("network_usage_%Y-%m-%d.csv", time.gmtime())
    (tmp_path / "stuck").write_text(f"0 {path.parent}")
    (tmp_path / "netusage.yaml").write_text(
        f"timezone: UTC\nstorage: {{ flush_interval: 1s }}\ncsv_log: {{ directory: {tmp_path}/csv, device: wan0 }}\n")
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml", environment=environment)
    eventually(lambda: "the CSV log can't be written, as its file system doesn't answer" in daemon.log, 20)
    sent = near.send("10.0.0.2", 10)
    began = daemon.metrics()["netusage_ledger_last_commit_timestamp_seconds"]
    eventually(lambda: daemon.metrics()["netusage_ledger_last_commit_timestamp_seconds"] > began + 2)
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 3 * PATIENCE
    assert not path.exists()
    # The ledger has the last commit.
    daemon = exporter(near)
    assert daemon.metrics().pair("lifetime", "wan0") == (0, sent)


@pytest.mark.parametrize("owners, is_followed", [((4321, 0), False), ((0, 4321), True), ((4321, 4321), True)])
def test_the_csv_logs_directory_may_be_a_link_of_root_or_of_its_own_owner(cable, exporter, tmp_path, owners, is_followed):
    near, _ = cable
    (tmp_path / "csv").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    for days in (-1, 0, 1):
        path = tmp_path / "elsewhere" / time.strftime("network_usage_%Y-%m-%d.csv", time.gmtime(time.time() + days * 86400))
        path.write_text("first\nunfinished")
    os.chown(tmp_path / "csv", owners[0], owners[0], follow_symlinks=False)
    os.chown(tmp_path / "elsewhere", owners[1], owners[1])
    (tmp_path / "netusage.yaml").write_text(f"timezone: UTC\ncsv_log: {{ directory: {tmp_path}/csv/, device: wan0 }}\n")
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml")
    if is_followed:
        eventually(lambda: any("unfinished" not in path.read_text() for path in (tmp_path / "elsewhere").iterdir()))
        assert "the CSV log can't be written" not in daemon.log
        return
    eventually(lambda: "the CSV log can't be written" in daemon.log)
    assert f"file={tmp_path}/csv" in daemon.log and "is a symbolic link" in daemon.log and "remove it" in daemon.log
    time.sleep(1.5)
    assert daemon.log.count("the CSV log can't be written") == 1
    assert {path.read_text() for path in (tmp_path / "elsewhere").iterdir()} == {"first\nunfinished"}
