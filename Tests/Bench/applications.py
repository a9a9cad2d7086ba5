"""Measures what metering applications costs: in the kernel, for each packet, and in the daemon."""

import contextlib
import ctypes
import os
import pathlib
import struct
import subprocess
import tempfile
import textwrap
import time

from clients import CGROUPS, Puppet
from support import Exporter, Namespace, eventually

libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
# linux/bpf.h
CGROUP_SKB, INGRESS, ALLOW_MULTI = 8, 0, 2
NAME, RUN_TIME, RUN_COUNT = 64, 192, 200  # In struct bpf_prog_info.


def runs(name):
    """(nanoseconds, runs) of the newest program of this name, while kernel.bpf_stats_enabled is set."""
    found, number, following = None, ctypes.c_uint(0), ctypes.c_uint(0)
    while libbpf.bpf_prog_get_next_id(number, ctypes.byref(following)) == 0:
        number = ctypes.c_uint(following.value)
        program = libbpf.bpf_prog_get_fd_by_id(number)
        if program < 0:
            continue
        info, size = ctypes.create_string_buffer(256), ctypes.c_uint(256)
        libbpf.bpf_obj_get_info_by_fd(program, info, ctypes.byref(size))
        os.close(program)
        if info.raw[NAME:NAME + 16].split(bytes(1))[0] == name.encode():
            found = struct.unpack_from("Q", info.raw, RUN_TIME)[0], struct.unpack_from("Q", info.raw, RUN_COUNT)[0]
    return found


@contextlib.contextmanager
def statistics():
    path = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
    before = path.read_text()
    path.write_text("1")
    try:
        yield
    finally:
        path.write_text(before)


@contextlib.contextmanager
def empty_program():
    """A program that only says yes: its time is that of the measuring."""
    code = bytes.fromhex("b700000001000000" "9500000000000000")  # r0 = 1; exit
    program = libbpf.bpf_prog_load(CGROUP_SKB, b"empty", b"GPL", code, 2, None)
    root = os.open(CGROUPS, os.O_RDONLY)
    assert program >= 0 and libbpf.bpf_prog_attach(program, root, INGRESS, ALLOW_MULTI) == 0
    try:
        yield
    finally:
        libbpf.bpf_prog_detach2(program, root, INGRESS)
        os.close(program)
        os.close(root)


def cable():
    near, far = Namespace(), Namespace()
    near.veth("wan0", far, "far0")
    near.ip("route", "add", "default", "via", "10.0.0.2")
    return near, far


def packets(rows):
    """64-byte datagrams, as fast as one program sends them."""
    near, far = cable()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as undo:
        undo.callback(near.delete)
        undo.callback(far.delete)
        exporter = Exporter(near, pathlib.Path(directory), sees_cgroups=True)
        undo.callback(exporter.close)
        eventually(lambda: exporter.metrics()["netusage_applications_attached"] == 1)
        undo.enter_context(statistics())
        undo.enter_context(empty_program())
        sender = Puppet(near, "sender")
        undo.callback(sender.close)
        sender.do("made = udp('10.0.0.2')")
        names = ("netusage_send", "netusage_recv", "empty")
        before = [runs(name) for name in names]
        sender.do("for _ in range(500_000): made.send(bytes(22))")
        sent, received, empty = ((after[0] - first[0]) / (after[1] - first[1])
                                 for after, first in zip(map(runs, names), before, strict=True))
    for name, cost in (("sent", sent), ("received", received)):
        rows.append((f"ns a packet in the kernel for applications, {name}, without {empty:.0f} of measuring", f"{cost - empty:.0f}", "", ""))


def daemon(rows, processor_seconds, status, seconds=60):
    """300 applications of which twenty go on, beside a daemon without applications."""
    results = []
    for mode in ("off", "on"):
        near, far = cable()
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as undo:
            undo.callback(near.delete)
            undo.callback(far.delete)
            configuration = pathlib.Path(directory) / "netusage.yaml"
            configuration.write_text(f"applications: {mode}\n")
            exporter = Exporter(near, pathlib.Path(directory), f"--config.file={configuration}", sees_cgroups=True)
            undo.callback(exporter.close)
            time.sleep(2)
            sender = Puppet(near, "sender")
            undo.callback(sender.close)
            sender.do("import time")
            sender.do("made = {}")
            sender.do("for number in range(300): call(f'program{number}'); made[number] = udp('10.0.0.2'); made[number].send(bytes(100))")
            time.sleep(3)
            pid = exporter.process.pid
            before, start = processor_seconds(pid), time.monotonic()
            sender.do(textwrap.dedent(f"exec('for _ in range({seconds * 2}):\\n for each in range(20): made[each].send(bytes(100))\\n time.sleep(0.5)')"))
            used = (processor_seconds(pid) - before) / (time.monotonic() - start) * 100
            exporter.metrics()
            results.append((status(pid, "VmRSS"), status(pid, "RssAnon"), used))
    (off, off_anonymous, off_used), (on, on_anonymous, on_used) = results
    rows.append(("resident / anonymous MB, 300 applications; without applications", f"{on:.1f} / {on_anonymous:.1f}", "",
                 f"{off:.1f} / {off_anonymous:.1f}"))
    rows.append((f"processor, % of a core, 1 s sampling, 300 applications, {seconds} s; without", f"{on_used:.3f}", "", f"{off_used:.3f}"))
