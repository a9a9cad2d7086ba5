"""Applications: whose bytes they are, and that they add up to the uplink's."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import textwrap
import threading
import time

import pytest

from support import BINARY, PATIENCE, eventually, run

CGROUPS = next((line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if " - cgroup2 " in line), None)

# A client that takes and gives so many bytes, in a process with a name and a cgroup of its own.
CLIENT = textwrap.dedent("""
    import ctypes, os, socket, sys
    name, cgroup, address, received, transmitted = sys.argv[1:]
    if cgroup:
        os.makedirs(cgroup, exist_ok=True)
        open(cgroup + "/cgroup.procs", "w").write(str(os.getpid()))
    ctypes.CDLL(None).prctl(15, name.encode()[:15])  # PR_SET_NAME
    with socket.create_connection((address, 8000)) as connection:
        connection.sendall(f"{received} {transmitted}\\n".encode())
        left = int(received)
        while left:
            left -= len(connection.recv(min(left, 1 << 16)))
        connection.sendall(bytes(int(transmitted)))
        connection.recv(1)  # The other side closes first.
""")


class Peer:
    """Answers the clients at 10.0.0.2 and elsewhere, and closes each connection first."""

    def __init__(self, namespace):
        self.listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("", 8000))
        self.listener.listen(64)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=[connection], daemon=True).start()

    @staticmethod
    def answer(connection):
        with connection, contextlib.suppress(ConnectionError):
            head = b""
            while not head.endswith(b"\n"):
                head += connection.recv(1)
            received, transmitted = map(int, head.split())
            connection.sendall(bytes(received))
            while transmitted:
                transmitted -= len(connection.recv(min(transmitted, 1 << 16)))

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def world(cable):
    """A machine whose uplink leads to a peer, and how to run a client in it."""
    near, far = cable
    far.ip("address", "add", "203.0.113.5/32", "dev", "far0")
    # Every packet is one on the cable, so that the device counts what is on the cable.
    near.ip("link", "set", "wan0", "gso_max_segs", "1")
    far.ip("link", "set", "far0", "gso_max_segs", "1")
    peer = Peer(far)
    made = []

    def client(name, received, transmitted, address="203.0.113.5", cgroup=None):
        path = f"{CGROUPS}/{cgroup}" if cgroup else ""
        if path:
            made.append(path)
        subprocess.run(["nsenter", f"--net={near.path}", "python3", "-c", CLIENT, name, path, address, str(received),
                        str(transmitted)], check=True, timeout=60 * PATIENCE)

    yield near, client
    peer.close()
    for path in made:
        while path != CGROUPS:
            with contextlib.suppress(OSError):
                os.rmdir(path)
            path = os.path.dirname(path)


def apps(netusage, *arguments):
    return json.loads(run(BINARY, "apps", "--json", f"--storage.path={netusage.ledger}", *arguments))


def bytes_of(report, name, scope="internet"):
    for account in report["accounts"]:
        if account["name"] == name and account.get("scope") == scope:
            return account["received_bytes"], account["transmitted_bytes"]
    return None


def attached(netusage):
    return eventually(lambda: netusage.metrics().get("netusage_applications_attached") == 1)


# The other end of the cable is a program of this machine, too: a container, as far as netusage knows.
PEER = pathlib.Path("/proc/self/comm").read_text().strip()


def assert_adds_up(report):
    """Nothing else sends here: all that the uplink carried is some application's."""
    peer = [account for account in report["accounts"] if account["name"] == PEER]
    uplink = next(account for account in report["accounts"] if account["kind"] == "uplink")
    for direction in ("received_bytes", "transmitted_bytes", "total_bytes"):
        known = sum(account[direction] for account in report["accounts"] if account.get("scope") in ("internet", "lan"))
        assert known + report["unattributed"][direction] == uplink[direction], report
        assert abs(report["unattributed"][direction] + sum(account[direction] for account in peer)) < 400, report


def test_each_program_has_its_bytes_and_they_add_up_to_the_uplink(world, exporter):
    near, client = world
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    client("backup", 300_000, 100_000)
    client("firefox", 50_000, 1_000, cgroup="netusage-test.slice/nginx.service")
    client("backup", 20_000, 5_000, address="10.0.0.2")
    report = settled(netusage, "backup", "lan")
    received, transmitted = bytes_of(report, "backup")
    assert 300_000 < received < 320_000 and 100_000 < transmitted < 120_000
    received, transmitted = bytes_of(report, "nginx.service")
    assert 50_000 < received < 56_000
    received, transmitted = bytes_of(report, "backup", "lan")
    assert 20_000 < received < 23_000
    assert_adds_up(report)
    metrics = netusage.metrics()
    assert metrics['netusage_application_day_receive_bytes{application="backup",scope="internet"}'] > 300_000
    for direction in ("receive", "transmit"):
        known = sum(value for series, value in metrics.items()
                    if series.startswith(f"netusage_application_day_{direction}_bytes") and 'scope="tunnel"' not in series)
        assert known == metrics[f"netusage_uplink_day_{direction}_bytes"]


def settled(netusage, name, scope="internet"):
    """A report that has all that was carried until now: the counters are read once a second."""
    before = time.monotonic()
    return eventually(lambda: time.monotonic() > before + 2 and bytes_of(apps(netusage), name, scope)
                      and apps(netusage))


def test_a_kill_loses_nothing_that_was_committed_and_leaves_no_program(world, exporter):
    near, client = world
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    client("backup", 300_000, 100_000)
    first = bytes_of(settled(netusage, "backup"), "backup")
    before = programs()
    assert before
    netusage.stop()
    eventually(lambda: not programs())
    again = exporter(near, sees_cgroups=True)
    attached(again)
    client("backup", 1000, 1000)
    report = settled(again, "backup")
    second = bytes_of(report, "backup")
    # Headers and payload of one connection more.
    assert 1_000 < second[0] - first[0] < 2_500 and 1_000 < second[1] - first[1] < 2_500
    assert_adds_up(report)
    again.kill()
    eventually(lambda: not programs())
    assert bytes_of(apps(again), "backup")[0] >= first[0]


def programs():
    """The kernel programs of netusage that are loaded now."""
    code = """if True:
        import ctypes, os, struct
        libbpf = ctypes.CDLL("libbpf.so.1")
        names, number, following = [], ctypes.c_uint(0), ctypes.c_uint(0)
        while libbpf.bpf_prog_get_next_id(number, ctypes.byref(following)) == 0:
            number = ctypes.c_uint(following.value)
            program = libbpf.bpf_prog_get_fd_by_id(number)
            if program < 0: continue
            info, size = ctypes.create_string_buffer(256), ctypes.c_uint(256)
            libbpf.bpf_obj_get_info_by_fd(program, info, ctypes.byref(size))
            names.append(info.raw[64:80].split(bytes(1))[0].decode())
            os.close(program)
        print(" ".join(name for name in names if name.startswith("netusage")))
    """
    return run("python3", "-c", code).split()


def test_switched_off_there_are_none(cable, exporter, tmp_path):
    near, _ = cable
    configuration = tmp_path / "netusage.yaml"
    configuration.write_text("applications: off\n")
    netusage = exporter(near, f"--config.file={configuration}", sees_cgroups=True)
    assert netusage.metrics()["netusage_applications_attached"] == 0
    assert not programs()


def test_without_cgroups_the_rest_works(cable, exporter):
    near, _ = cable
    netusage = exporter(near)
    assert "there is no cgroup2 file system" in eventually(lambda: "aren't metered" in netusage.log and netusage.log)
    assert netusage.metrics()["netusage_applications_attached"] == 0
