"""The HTTP server, with clients of every kind."""

import base64
import contextlib
import gzip
import http.client
import os
import pathlib
import pty
import re
import resource
import socket
import subprocess
import threading
import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from ledgers import Ledger
from support import BINARY, PATIENCE, eventually, reset_connection

PROMETHEUS_2 = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
PROMETHEUS_3 = ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                "text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_the_format_is_negotiated(cable, exporter):
    netusage = exporter(cable[0])
    for accept, expected in ((None, TEXT), ("*/*", TEXT), (PROMETHEUS_2, OPENMETRICS), (PROMETHEUS_3, OPENMETRICS),
                             ("text/plain;version=0.0.4", TEXT), ("application/json", TEXT),
                             ("application/openmetrics-text;q=0.1,text/plain", TEXT),
                             ("application/openmetrics-text;q=0", TEXT)):
        answer = netusage.get("/metrics", headers={"Accept": accept} if accept else {})
        assert answer.headers["Content-Type"] == expected, accept
        assert answer.headers["Content-Encoding"] is None
        assert int(answer.headers["Content-Length"]) == len(answer.body)


def test_bodies_pass_the_strict_parsers(cable, exporter):
    near, far = cable
    near.ip("link", "set", "wan0", "alias", 'a "b"\\c\nd')
    for flags in ((), ("--web.created-timestamps",)):
        netusage = exporter(near, *flags)
        answer = netusage.get("/metrics", headers={"Accept": PROMETHEUS_2, "Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        body = gzip.decompress(answer.body).decode()
        families = {family.name: family for family in openmetrics(body)}
        assert families["netusage_receive_bytes"].type == "counter"
        assert families["netusage_receive_bytes"].unit == "bytes"
        assert families["netusage_receive_bytes_per_second"].unit == "bytes_per_second"
        assert families["netusage_device"].type == "info"
        assert body.endswith("# EOF\n") and ("_created" in body) == bool(flags)
        plain = netusage.get("/metrics").body.decode()
        assert {family.name for family in classic(plain)} >= {"netusage_receive_bytes", "netusage_device_info"}
        for family in list(families.values()) + list(classic(plain)):
            assert family.documentation.endswith("."), family.name
        netusage.stop()


def test_a_client_that_sends_no_more_still_gets_its_answers(cable, exporter):
    netusage = exporter(cable[0])
    for requests in (1, 3):
        with netusage.namespace.entered():
            connection = socket.create_connection(("127.0.0.1", 10073))
        connection.settimeout(10)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
        connection.shutdown(socket.SHUT_WR)
        body = b"".join(iter(lambda: connection.recv(65536), b""))
        assert body.count(b"HTTP/1.1 200 OK") == requests and body.endswith(b"\n")
    for request in (b"", b"GET /metrics HTTP/1.1\r\nHo"):
        with netusage.namespace.entered():
            connection = socket.create_connection(("127.0.0.1", 10073))
        connection.settimeout(5)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        assert b"200 OK" not in b"".join(iter(lambda: connection.recv(65536), b""))


def test_what_is_not_understood_is_refused_with_its_own_status(cable, exporter):
    netusage = exporter(cable[0])
    for request, status in ((b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
                            (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40000 + b"\r\n\r\n", b"431"),
                            (b"GET /metrics HTTP/1.1\r\nbad header\r\n\r\n", b"400")):
        with netusage.namespace.entered():
            connection = socket.create_connection(("127.0.0.1", 10073))
        connection.settimeout(10)
        connection.sendall(request)
        assert connection.recv(65536).split()[1] == status, request[:30]


def test_two_scrapes_have_the_same_order(cable, exporter):
    netusage = exporter(cable[0])
    names = [[line.rpartition(" ")[0] for line in netusage.get("/metrics").body.decode().splitlines()] for _ in range(2)]
    assert names[0] == names[1]
    families = [line.split()[2] for line in names[0] if line.startswith("# TYPE")]
    assert families == sorted(families)


def test_methods_and_addresses(cable, exporter):
    netusage = exporter(cable[0])
    head, get = netusage.get("/metrics", method="HEAD"), netusage.get("/metrics")
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) > 1000
    assert get.headers.keys() == head.headers.keys()
    for path, method, status in (("/", "GET", 200), ("/-/healthy", "GET", 200), ("/-/ready", "HEAD", 200),
                                 ("/nothing", "GET", 404), ("/metrics", "POST", 405), ("/metrics", "DELETE", 405),
                                 ("/-/reload", "GET", 405), ("/-/reload", "POST", 403), ("/metrics?x=y", "GET", 200),
                                 ("/metrics/", "GET", 404), ("/" + "x" * 5000, "GET", 414), ("/" + "x" * 20000, "GET", 414)):
        answer = netusage.get(path, method=method)
        assert answer.status == status, (path[:20], method, answer.status)
    assert netusage.get("/metrics", method="PUT").headers["Allow"] == "GET, HEAD"
    assert b"0.1.0" in netusage.get("/").body


def raw(netusage, request, timeout=10):
    """Sends bytes, and returns all bytes that come until the server closes the connection."""
    connection = netusage.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout * PATIENCE)
    connection.connect(("127.0.0.1", netusage.port))
    with connection:
        connection.sendall(request)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass  # The server closed the connection before it had read the whole request.
        return answer


def test_requests_that_break_the_rules_get_an_error(cable, exporter):
    netusage = exporter(cable[0])
    close = b"Connection: close\r\n\r\n"
    assert raw(netusage, b"GET /metrics HTTP/1.1\r\n" + close).startswith(b"HTTP/1.1 400")
    assert raw(netusage, b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + close).startswith(b"HTTP/1.1 400")
    assert raw(netusage, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")
    assert raw(netusage, b"complete nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    # The absolute form, which clients send to proxies: its host counts, not the header's (RFC 9112 §3.2.2).
    for target, status in ((b"http://localhost:10073/metrics", b"200"), (b"http://localhost", b"200"),
                           (b"http://evil.example/", b"403"), (b"http://localhost/nothing", b"404")):
        request = b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + close
        assert raw(netusage, request).startswith(b"HTTP/1.1 " + status), target
    many = b"".join(b"X-%d: y\r\n" % number for number in range(1000))
    assert raw(netusage, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + many + close)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
    assert netusage.get("/metrics").status == 200


def test_pages_answer_only_to_loopback_names(cable, exporter):
    netusage = exporter(cable[0], "--web.external-url=https://meter.example/x")
    for host, status in (("localhost", 200), ("127.0.0.1:10073", 200), ("[::1]:10073", 200), ("meter.example", 200),
                         ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil.example:10073", 403)):
        assert netusage.get("/", headers={"Host": host}).status == status, host
        assert netusage.get("/metrics", headers={"Host": host}).status == 200
    assert "Access-Control-Allow-Origin" not in netusage.get("/").headers


def test_more_scrapes_at_once_than_allowed_are_refused_and_then_allowed_again(cable, exporter):
    netusage = exporter(cable[0], "--web.max-requests=2")
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    statuses = []

    def scrape():
        statuses.append(raw(netusage, request)[9:12])

    for _ in range(20):
        threads = [threading.Thread(target=scrape) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(statuses) <= {b"200", b"503"} and b"200" in statuses
    assert netusage.get("/metrics").status == 200


def processor_seconds(process):
    """The processor time that a process has used so far."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_and_half_open_connections_leave_room_for_an_honest_scrape(cable, exporter):
    """400 connections, at a limit of 64 descriptors: some send nothing, some half a request, some a byte at a time."""
    near, far = cable
    netusage = exporter(near, prefix=("prlimit", "--nofile=64:64"))
    connections = []
    for number in range(400):
        connection = near.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(5 * PATIENCE)
        connection.connect(("127.0.0.1", netusage.port))
        try:
            if number % 3:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: local"[:number % 36])
        except OSError:
            pass  # The server has closed the connection, because there are too many.
        connections.append(connection)
        if number % 20 == 0:
            assert netusage.get("/metrics").status == 200
    for _ in range(10):
        assert netusage.get("/metrics").status == 200
    used = processor_seconds(netusage.process)
    time.sleep(2)
    assert processor_seconds(netusage.process) - used < 0.2 * PATIENCE, "it spins"
    shown = netusage.metrics()
    assert shown["process_open_fds"] <= 64 and shown["process_max_fds"] == 64
    for connection in connections:
        reset_connection(connection)


def test_a_half_sent_request_is_ended_in_time(cable, exporter):
    netusage = exporter(cable[0])
    started = time.monotonic()
    assert raw(netusage, b"GET /metrics HTTP/1.1\r\nHost: lo", timeout=30) == b""
    assert time.monotonic() - started < 15 * PATIENCE


def test_a_reader_that_stops_reading_holds_nothing_up(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    stuck = []
    for _ in range(30):
        connection = near.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", netusage.port))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        stuck.append(connection)
    for _ in range(20):
        assert netusage.get("/metrics").status == 200
    for connection in stuck:
        reset_connection(connection)


def test_several_listeners_and_a_telemetry_path(cable, exporter):
    near, far = cable
    netusage = exporter(near, "--web.listen-address=10.0.0.1:10999", "--web.telemetry-path=/m")
    assert netusage.get("/m").status == 200 and netusage.get("/metrics").status == 404
    with far.entered():
        connection = http.client.HTTPConnection("10.0.0.1", 10999, timeout=5)
        connection.connect()
    connection.request("GET", "/m", headers={"Host": "anything.example"})
    assert connection.getresponse().status == 200
    connection.close()


# Clients that don't read their answers

def resident_megabytes(netusage):
    status = pathlib.Path(f"/proc/{netusage.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def connected(netusage, receive_buffer=None):
    connection = netusage.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(1)
    connection.connect(("127.0.0.1", netusage.port))
    return connection


def pipeline(connection, request, bytes_at_most):
    """Sends requests, and reads nothing, until the other side takes no more. Returns how many bytes it took."""
    taken = 0
    block = request * (65536 // len(request))
    try:
        while taken < bytes_at_most:
            taken += connection.send(block)
    except TimeoutError:
        pass
    return taken


def test_what_nobody_reads_is_not_made(cable, exporter):
    near, far = cable
    for number in range(200):
        near.ip("link", "add", f"lan{number}", "type", "bridge")
    netusage = exporter(near)
    for path in ("/metrics", "/", "/api/v1/usage?grain=day&last=1500", "/nothing"):
        before = resident_megabytes(netusage)
        connection = connected(netusage, 4096)
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        taken = pipeline(connection, request, 64 << 20)
        assert taken < 16 << 20, f"{path}: what isn't answered isn't read either"
        # One answer waits for the client, with what the kernel holds. netusage hasn't made the others.
        assert resident_megabytes(netusage) - before < 16, path
        for _ in range(50):
            assert netusage.get("/metrics").status == 200, f"{path}: it holds one place and no more"
        reset_connection(connection)
        if path != "/nothing":
            eventually(lambda: resident_megabytes(netusage) - before < 16)


def test_what_nobody_may_read_is_not_made_either(cable, exporter, tmp_path):
    """Requests without a password: the answer to each is a 401, and nobody reads it."""
    (tmp_path / "web.yml").write_text("basic_auth_users: { u: $2b$04$5OtNtscNJyl0R1oA61bX1.E1g6pKKj9jgNooMM8.Ls2SErV4LEti2 }\n")
    netusage = exporter(cable[0], f"--web.config.file={tmp_path}/web.yml", wait=False)
    good = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    eventually(lambda: "listening" in netusage.log, 20)
    assert netusage.get("/metrics", headers=good).status == 200
    before = resident_megabytes(netusage)
    connections = [connected(netusage, 4096) for _ in range(3)]
    for connection in connections:
        taken = pipeline(connection, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 64 << 20)
        assert taken < 16 << 20, "what isn't answered isn't read either"
        for _ in range(50):
            assert netusage.get("/metrics", headers=good).status == 200
    assert resident_megabytes(netusage) - before < 16
    # A flood of such requests keeps nobody out either, if the client reads the answers.
    stop = threading.Event()

    def flood():
        with connected(netusage) as flooding:
            flooding.settimeout(20 * PATIENCE)
            while not stop.is_set():
                flooding.sendall(50 * b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answers = b""
                while answers.count(b"Unauthorized\n") < 50:
                    answers += flooding.recv(65536)

    floods = [threading.Thread(target=flood) for _ in range(4)]
    for each in floods:
        each.start()
    try:
        for _ in range(20):
            assert netusage.get("/metrics", headers=good, timeout=5).status == 200
            assert netusage.get("/metrics").status == 401
    finally:
        stop.set()
        for each in floods:
            each.join()
    for connection in connections:
        reset_connection(connection)


def large_ledger(near, directory):
    """A ledger whose export is larger than all buffers between the daemon and its client."""
    ledger = Ledger(near, directory, "timezone: UTC\n")
    until = int(time.time()) // 300 * 300
    for device in range(20):
        account = ledger.account(f"eth{device}")
        for start in range(until - 20 * 86400, until, 300):
            ledger.bucket(account, start, start, device)
    ledger.close(until=until)
    return ledger


EXPORT = "/api/v1/export?format=openmetrics&grain=5m"


def test_who_looks_at_a_commands_export_page_by_page_gets_all_of_it(cable, exporter, tmp_path):
    """The reader takes the first page, and the rest half a minute later; on a terminal, names stay whole."""
    ledger = large_ledger(cable[0], tmp_path)
    exporter(cable[0], f"--config.file={ledger.configuration}", ledger=ledger.path)
    command = [BINARY, "export", "--format=openmetrics", "--until=yesterday", "--label", "site=Zürich", f"--storage.path={ledger.path}"]
    whole = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(whole) > 4 << 20 and whole.endswith(b"# EOF\n")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        # Without a buffer: `communicate` doesn't look into one.
        page = os.read(process.stdout.fileno(), 4096)
        time.sleep(33)
        rest, errors = process.communicate(timeout=60 * PATIENCE)
        assert (process.returncode, errors) == (0, b"")
    assert page + rest == whole
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.PIPE) as process:
        os.close(slave)
        shown = bytearray()
        with contextlib.suppress(OSError):
            while piece := os.read(master, 65536):
                shown += piece
        os.close(master)
        assert process.wait(60 * PATIENCE) == 0
    text = bytes(shown).decode()
    assert "\N{REPLACEMENT CHARACTER}" not in text and text.count('site="Zürich"') > 10_000 and text.endswith("# EOF\r\n")


def test_who_has_taken_much_may_pause(cable, exporter, tmp_path):
    ledger = large_ledger(cable[0], tmp_path)
    netusage = exporter(cable[0], f"--config.file={ledger.configuration}", ledger=ledger.path)
    connection = connected(netusage, 65536)
    connection.settimeout(10 * PATIENCE)
    connection.sendall(f"GET {EXPORT} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    taken = b""
    while len(taken) < 1 << 20:
        piece = connection.recv(65536)
        assert piece, f"closed after {len(taken)} bytes"
        taken += piece
    time.sleep(34)  # The server gives up after half a minute if a client takes nothing at all.
    while piece := connection.recv(1 << 20):
        taken += piece
    assert taken.endswith(b"# EOF\n\r\n0\r\n\r\n")


def test_exports_have_places_of_their_own(cable, exporter, tmp_path):
    ledger = large_ledger(cable[0], tmp_path)
    netusage = exporter(cable[0], f"--config.file={ledger.configuration}", ledger=ledger.path)
    unread = []
    for _ in range(4):
        unread.append(connected(netusage, 4096))
        unread[-1].settimeout(10 * PATIENCE)
        unread[-1].sendall(f"GET {EXPORT} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert unread[-1].recv(15) == b"HTTP/1.1 200 OK"
    for _ in range(20):
        answer = netusage.get(EXPORT)
        assert answer.status == 503 and b"Too many exports at once" in answer.body
        assert [netusage.get(other).status for other in ("/metrics", "/", "/api/v1/usage?period=month", "/api/v1/status")] == [200] * 4
    reset_connection(unread.pop())
    eventually(lambda: netusage.get("/api/v1/export?grain=day").status == 200)
    for connection in unread:
        reset_connection(connection)


def test_one_connection_holds_one_place(cable, exporter):
    near, far = cable
    for number in range(200):
        near.ip("link", "add", f"lan{number}", "type", "bridge")
    netusage = exporter(near, "--web.max-requests=2")
    connection = connected(netusage, 4096)
    pipeline(connection, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 1 << 20)
    for _ in range(100):
        assert netusage.get("/metrics").status == 200
    reset_connection(connection)


def test_pipelined_requests_are_answered_in_their_order(cable, exporter):
    netusage = exporter(cable[0])
    connection = connected(netusage)
    connection.settimeout(20)
    paths = [("/-/healthy", b"netusage is healthy.\n"), ("/-/ready", b"netusage is ready.\n")] * 250
    connection.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path, _ in paths))
    connection.shutdown(socket.SHUT_WR)
    body = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"netusage is \w+\.\n", body) == [text for _, text in paths]


def test_a_client_that_ends_its_side_gets_every_answer(cable, exporter):
    netusage = exporter(cable[0])
    page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    health = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answered = set()
    for attempt in range(100):
        with connected(netusage) as connection:
            connection.settimeout(10)
            connection.sendall(page)
            time.sleep(attempt * 1e-5)  # While the server sends the page, or just before or after.
            connection.sendall(3 * health)
            connection.shutdown(socket.SHUT_WR)
            answered.add(b"".join(iter(lambda: connection.recv(65536), b"")).count(b"HTTP/1.1 200"))
    assert answered == {4}


def test_bodies_and_expectations_are_answered(cable, exporter):
    netusage = exporter(cable[0])

    def status(request, then=b""):
        connection = connected(netusage)
        connection.settimeout(10)
        with connection:
            connection.sendall(request)
            first = connection.recv(65536)
            if then:
                connection.sendall(then)
                return first, connection.recv(65536)
            return first.split()[1]

    head = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n"
    assert status(head + b"Content-Length: 3\r\n\r\nabc") == b"200"
    assert status(head + b"Content-Length: 70000\r\n\r\n") == b"413", "before any of it is read"
    chunks = b"2000\r\n" + bytes(0x2000) + b"\r\n"
    assert status(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 9) == b"413"
    assert status(head.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == b"400"
    assert status(head + b"Expect: a-miracle\r\n\r\n") == b"417"
    go_on, answer = status(head + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", b"abc")
    assert go_on.startswith(b"HTTP/1.1 100") and answer.startswith(b"HTTP/1.1 200")
    # HTTP/1.0 doesn't know `Expect`.
    first = raw(netusage, head.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
    assert first.startswith(b"HTTP/1.0 200") and b" 100 " not in first


def test_an_expectation_behind_another_request_is_answered_in_its_turn(cable, exporter):
    netusage = exporter(cable[0])
    page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    expecting = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n"
    with connected(netusage) as connection:
        connection.settimeout(5)
        connection.sendall(page + expecting + b"\r\n")
        received = b""
        while not received.endswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            received += connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 200") and b"</html>" in received, "the page comes first"
        connection.sendall(b"abc")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        # A client that sends its body at once gets no 100. If the body doesn't come, the server closes the connection in time.
        connection.sendall(page + expecting + b"\r\nabc" + page + expecting.replace(b"3", b"4") + b"\r\n")
        received = b""
        began = time.monotonic()
        connection.settimeout(20 * PATIENCE)
        while part := connection.recv(65536):
            received += part
        assert received.count(b"HTTP/1.1 200") == 3 and received.count(b"HTTP/1.1 100") == 1
        assert 8 < time.monotonic() - began < 15 * PATIENCE


def test_other_peoples_pages_get_nothing(cable, exporter):
    netusage = exporter(cable[0], "--web.enable-lifecycle", "--web.listen-address=:10081")
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "http://evil.example"}
    for port in (10073, 10081):
        for path, method in (("/", "GET"), ("/metrics", "GET"), ("/api/v1/live", "GET"), ("/-/reload", "POST")):
            get = lambda headers: netusage.namespace.get(port, path, method, headers).status
            assert get({}) == 200 and get(foreign) == 403, path
            # A browser asks like this if an attacker's name points at the loopback address.
            assert get({"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}) == 403, path
        assert netusage.namespace.get(port, "/metrics", headers={"Host": "meter.example"}).status == 200, "a scraper"


def test_addresses_mean_what_they_say(cable, exporter):
    near = cable[0]
    for text in ("*:10081", "127.1:10081", "::1:10081", "10081", "localhost:99999"):
        netusage = exporter(near, f"--web.listen-address={text}", wait=False)
        assert netusage.process.wait(20) == 64 and "--web.listen-address" in netusage.log, text
    for text in ("ftp://x", "meter.example", "https:///path"):
        netusage = exporter(near, f"--web.external-url={text}", wait=False)
        assert netusage.process.wait(20) == 64 and "--web.external-url" in netusage.log, text
