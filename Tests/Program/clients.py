"""Programs that carry bytes for tests of applications, and what netusage says of them."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import textwrap
import threading
import time

from support import BINARY, PATIENCE, eventually, run

CGROUPS = next((line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
                if " - cgroup2 " in line), None)

# A client that takes and gives so many bytes, in a process with a name and a cgroup of its own.
CLIENT = textwrap.dedent("""
    import ctypes, os, socket, sys
    name, cgroup, thread, address, received, transmitted = sys.argv[1:]
    if cgroup:
        os.makedirs(cgroup, exist_ok=True)
        open(cgroup + "/cgroup.procs", "w").write(str(os.getpid()))
    ctypes.CDLL(None).prctl(15, name.encode()[:15])  # PR_SET_NAME
    def carry():
        if thread:
            ctypes.CDLL(None).prctl(15, thread.encode()[:15])
        with socket.create_connection((address, 8000)) as connection:
            talk(connection)
    def talk(connection):
        connection.sendall(f"{received} {transmitted}\\n".encode())
        left = int(received)
        while left:
            left -= len(connection.recv(min(left, 1 << 16)))
        connection.sendall(bytes(int(transmitted)))
        connection.recv(1)  # The other side closes first.
    if thread:
        import threading
        threading.Thread(target=carry).start()
    else:
        carry()
""")


class Peer:
    """Answers the clients at 10.0.0.2 and elsewhere, and closes each connection first."""

    def __init__(self, namespace, family=socket.AF_INET):
        self.listener = namespace.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
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


def apps(netusage, *arguments):
    return json.loads(run(BINARY, "apps", "--json", f"--storage.path={netusage.ledger}", *arguments))


def bytes_of(report, name, scope="internet"):
    for account in report["accounts"]:
        if account["name"] == name and account.get("scope") == scope:
            return account["received_bytes"], account["transmitted_bytes"]
    return None


def attached(netusage):
    return eventually(lambda: netusage.metrics().get("netusage_applications_attached") == 1)


# The other end of the cable is a program of this machine, too: a container, as far as netusage knows. So are the kernel's own packets in
# all other network namespaces, such as router solicitations.
PEER = pathlib.Path("/proc/self/comm").read_text().strip()


def left_over(report, direction):
    """What the uplink carried that belongs to no program, here or at the other end."""
    others = sum(account[direction] for account in report["accounts"] if account["name"] in (PEER, "(kernel)"))
    return report["unattributed"][direction] + others


def assert_adds_up(report):
    """Nothing else sends here: all that the uplink carried is some application's."""
    uplink = next(account for account in report["accounts"] if account["kind"] == "uplink")
    for direction in ("received_bytes", "transmitted_bytes", "total_bytes"):
        known = sum(account[direction] for account in report["accounts"] if account.get("scope") in ("internet", "lan"))
        assert known + report["unattributed"][direction] == uplink[direction], report
        assert abs(left_over(report, direction)) < 400, report


def settled(netusage, name, scope="internet"):
    """A report that has all that was carried until now: the counters are read once a second."""
    before = time.monotonic()
    return eventually(lambda: time.monotonic() > before + 2 and bytes_of(apps(netusage), name, scope)
                      and apps(netusage))


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


# A program whose parts run when they are told to, a line each; it answers with a line.
PUPPET = textwrap.dedent("""
    import ctypes, os, socket, sys
    libc = ctypes.CDLL(None)
    def call(name): libc.prctl(15, name.encode()[:15])
    def udp(address):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect((address, 9))
        return made
    for line in sys.stdin:
        exec(line)
        print("done", flush=True)
""")


class Puppet:
    """A process in the namespace, and its name."""

    def __init__(self, namespace, name):
        self.process = subprocess.Popen(["nsenter", f"--net={namespace.path}", "python3", "-c", PUPPET], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.do(f"call({name!r})")

    def do(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


FRAME = 14 + 20 + 8  # Ethernet, IPv4, UDP.
