"""Where applications can't be metered everything else works, and one line of the log and `netusage doctor` say why."""

import os
import subprocess
import sys
import textwrap

import pytest

from clients import CGROUPS, programs
from support import BINARY, PATIENCE, eventually

# A program at the root of the cgroups that lets no other one in, until its input ends: prog type 8 is CGROUP_SKB, attach type 0
# is its ingress, and without flags it is exclusive (linux/bpf.h). Its two instructions let every packet pass.
EXCLUSIVE = textwrap.dedent("""
    import ctypes, os, sys
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    instructions = bytes.fromhex("b700000001000000" "9500000000000000")
    program = libbpf.bpf_prog_load(8, b"exclusive", b"GPL", instructions, 2, None)
    root = os.open(sys.argv[1], os.O_RDONLY)
    code = libbpf.bpf_prog_attach(program, root, 0, 0)
    print(code, flush=True)
    sys.stdin.read()
    libbpf.bpf_prog_detach2(program, root, 0)
""")


@pytest.fixture
def exclusive():
    """Somebody else's program where ours would be."""
    process = subprocess.Popen([sys.executable, "-c", EXCLUSIVE, CGROUPS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "0\n"
    yield
    process.stdin.close()
    assert process.wait(10 * PATIENCE) == 0


# What a container has by default: no capability for this, and a cgroup namespace of its own.
CONTAINER = ("setpriv", "--bounding-set=-bpf,-perfmon,-net_admin,-sys_admin")
NO_TYPES = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh")
NO_CGROUPS = ("unshare", "--mount", "sh", "-c", 'umount -l "$0" && exec "$@"', CGROUPS)
USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.parametrize(("prefix", "reason"), [
    (NO_TYPES, "this kernel doesn't describe its types in /sys/kernel/btf/vmlinux"),
    (NO_CGROUPS, "there is no cgroup2 file system"),
    (CONTAINER, "root has no CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF here, as in most containers"),
    (USER, "that needs root, or once for a service: sudo netusage service install --applications"),
], ids=["no types", "no cgroup2", "container", "ordinary user"])
def test_the_rest_works(cable, exporter, tmp_path, prefix, reason):
    near, _ = cable
    assert_only_applications_are_missing(near, exporter, tmp_path, prefix, reason)


def test_the_rest_works_beside_a_program_that_lets_no_other_one_in(cable, exporter, tmp_path, exclusive):
    near, _ = cable
    assert_only_applications_are_missing(near, exporter, tmp_path, (), "another program at the root of the cgroups lets no other one in")


def assert_only_applications_are_missing(near, exporter, directory, prefix, reason):
    place = directory / "ledger"
    place.mkdir()
    for each in (place, *place.parents):
        if each.stat().st_uid == os.getuid() and "pytest" in str(each):
            each.chmod(0o755)
    os.chown(place, 65534 if prefix == USER else os.getuid(), -1)
    netusage = exporter(near, sees_cgroups=True, prefix=prefix, ledger=place / "ledger.db")
    lines = eventually(lambda: [line for line in netusage.log.splitlines() if "applications aren't metered" in line])
    sent = near.send("10.0.0.2")
    metrics = eventually(lambda: (metrics := netusage.metrics()).pair("day", "wan0")[1] == sent and metrics)
    assert metrics["netusage_applications_attached"] == 0 and not programs()
    assert len(lines) == 1 and reason in lines[0]
    doctor = subprocess.run(["nsenter", f"--net={near.path}", BINARY, "doctor", f"--storage.path={netusage.ledger}"],
                            capture_output=True, text=True, timeout=60 * PATIENCE, check=False).stdout
    assert reason in " ".join(doctor.split())
    assert [line for line in netusage.log.splitlines() if "applications aren't metered" in line] == lines
    netusage.stop()
