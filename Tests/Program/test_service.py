"""netusage and a service manager: notifications, the watchdog, sockets that the manager hands over, signals."""

import fcntl
import os
import signal
import socket
import subprocess
import time

from support import BINARY, PATIENCE, eventually


def messages(listener, until, seconds=10):
    """Receives notifications until one contains `until`. Returns all of them."""
    listener.settimeout(seconds * PATIENCE)
    received = []
    while not received or until not in received[-1]:
        received.append(listener.recv(4096).decode())
    return received


def manager(directory):
    """A socket as a service manager has it, and its path."""
    path = str(directory / "notify")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    return listener, path


def test_the_manager_hears_of_every_turn(cable, exporter, tmp_path):
    near, far = cable
    listener, path = manager(tmp_path)
    netusage = exporter(near, environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"})
    assert "READY=1" in messages(listener, "READY=1")[-1]
    messages(listener, "WATCHDOG=1")
    messages(listener, "WATCHDOG=1")
    netusage.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in messages(listener, "RELOADING=1")[-1]
    messages(listener, "READY=1")
    netusage.process.terminate()
    messages(listener, "STOPPING=1")
    assert netusage.process.wait(20 * PATIENCE) == 0


def test_signs_of_life_come_in_time_however_seldom_readings_are(cable, exporter, tmp_path):
    near, far = cable
    listener, path = manager(tmp_path)
    (tmp_path / "slow.yaml").write_text("sampling: { interval: 3s }\n")
    netusage = exporter(near, f"--config.file={tmp_path}/slow.yaml",
                        environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    messages(listener, "READY=1")
    for _ in range(5):
        messages(listener, "WATCHDOG=1", seconds=1)
    near.send("10.0.0.2")
    # A scrape doesn't end a sampling interval.
    eventually(lambda: netusage.metrics().device("transmit_bytes_per_second", "wan0") > 0, 7)


def test_events_that_keep_coming_hold_up_neither_signs_of_life_nor_commits(cable, exporter, tmp_path):
    near, far = cable
    listener, path = manager(tmp_path)
    (tmp_path / "slow.yaml").write_text("sampling: { interval: 60s }\nstorage: { flush_interval: 2s }\n")
    netusage = exporter(near, f"--config.file={tmp_path}/slow.yaml",
                        environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    messages(listener, "READY=1")
    near.ip("link", "add", "lan0", "type", "bridge")
    committed = netusage.metrics()["netusage_ledger_last_commit_timestamp_seconds"]
    for number in range(40):
        near.ip("link", "set", "lan0", "up" if number % 2 else "down")
        if number % 4 == 3:
            messages(listener, "WATCHDOG=1", seconds=1)
        time.sleep(0.2)
    assert netusage.metrics()["netusage_ledger_last_commit_timestamp_seconds"] > committed + 2


def test_too_few_descriptors_are_told(cable, exporter):
    near, far = cable
    netusage = exporter(near, prefix=("prlimit", "--nofile=24:24"), wait=False)
    assert netusage.process.wait(20 * PATIENCE) == 1
    assert "too few file descriptors" in netusage.log and "ulimit -n" in netusage.log


def test_every_address_is_listened_at_with_and_without_ipv6(cable, exporter):
    near, far = cable
    for disabled in ("0", "1"):
        near.exec("sysctl", "-q", "-w", f"net.ipv6.conf.all.disable_ipv6={disabled}")
        netusage = exporter(near, "--web.listen-address=:10074")
        netusage.port = 10074
        assert netusage.metrics()["netusage_online"] == 1
        netusage.stop()


def test_a_log_that_nobody_reads_holds_up_no_scrape(cable, exporter, tmp_path):
    near, far = cable
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 8192)
    netusage = exporter(near, stderr=writer)
    os.close(writer)
    for number in range(100):
        near.ip("route", "replace" if number % 2 else "delete", "default", "dev", "wan0")
        eventually(lambda: netusage.metrics()["netusage_online"] == number % 2)
    assert b"the uplink is this device now" in os.read(reader, 65536)
    near.ip("route", "delete", "default", "dev", "wan0")
    assert eventually(lambda: netusage.metrics()["netusage_online"] == 0)
    assert b"lines before this one were lost" in os.read(reader, 65536)
    os.close(reader)


def test_an_address_that_is_taken_is_named(cable, exporter, tmp_path):
    near, far = cable
    exporter(near)
    second = exporter(near, wait=False, ledger=tmp_path / "other.db")
    assert second.process.wait(20 * PATIENCE) == 1
    assert "127.0.0.1:10073: Address already in use" in second.log and "--web.listen-address" in second.log


def test_an_abstract_notification_socket_works_too(cable, exporter):
    name = f"netusage-test-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    near, far = cable
    # Each network namespace has its own abstract names.
    with near.entered():
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind("\0" + name)
    exporter(near, environment={"NOTIFY_SOCKET": "@" + name})
    messages(listener, "READY=1")


def test_a_socket_that_is_handed_over_is_served(cable, tmp_path):
    near, far = cable
    listener = near.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 10099))
    listener.listen()

    def hand_over():
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ["LISTEN_PID"] = str(os.getpid())

    shell = f'exec env LISTEN_PID=$$ LISTEN_FDS=1 {BINARY} serve --storage.path={tmp_path}/ledger.db'
    process = subprocess.Popen(["ip", "netns", "exec", near.name, "sh", "-c", shell], preexec_fn=hand_over, close_fds=False,
                               stderr=subprocess.DEVNULL)
    try:
        client = near.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.connect(("127.0.0.1", 10099))  # The connection waits in the socket's queue until the program is ready.
        client.settimeout(20 * PATIENCE)
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        process.terminate()
        assert process.wait(20 * PATIENCE) == 0


def test_sigterm_and_sigint_end_it_in_good_order(cable, exporter):
    near, far = cable
    sent = 0
    for number in (signal.SIGTERM, signal.SIGINT):
        netusage = exporter(near)
        sent += near.send("10.0.0.2")
        netusage.signal(number)
        assert netusage.process.wait(20 * PATIENCE) == 0
        assert not os.path.exists(f"{netusage.ledger}-wal"), "the log is folded into the file"
    assert exporter(near).metrics().pair("lifetime", "wan0") == (0, sent)


def test_a_frozen_program_catches_up(cable, exporter):
    """SIGSTOP freezes the program for a while. Events and bytes wait in the kernel."""
    near, far = cable
    netusage = exporter(near)
    sent = near.send("10.0.0.2")
    netusage.signal(signal.SIGSTOP)
    time.sleep(1)
    near.bridge("lan0", 7)
    of_lan = near.send("10.7.0.2", packets=10)
    near.ip("link", "delete", "lan0")
    sent += near.send("10.0.0.2")
    netusage.signal(signal.SIGCONT)
    shown = eventually(lambda: (lambda m: m if m.pair("month", "lan0") == (0, of_lan) else None)(netusage.metrics()))
    assert shown.pair("lifetime", "wan0") == (0, sent)
