"""`netusage doctor`: its findings on machines that are well, and on machines with problems."""

import os
import re
import subprocess

import pytest

from support import BINARY, run


def doctor(namespace, ledger, *flags, prefix=(), environment=None):
    done = subprocess.run(["ip", "netns", "exec", namespace.name, *prefix, str(BINARY), "doctor", f"--storage.path={ledger}", *flags],
                          capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "200", **(environment or {})})
    assert done.stderr == "", done.stderr
    sections, title = {}, None
    for line in done.stdout.splitlines():
        if line and not line.startswith(" "):
            title = sections.setdefault(line, [])
        elif line.startswith("      "):
            title[-1] += " " + line.strip()
        elif line:
            title.append(line.strip())
    return done.returncode, sections


@pytest.fixture
def machine(cable, exporter, tmp_path):
    near, _ = cable
    return near, exporter(near)


def test_all_is_well(machine):
    near, daemon = machine
    links = near.ip("link", "show")
    code, said = doctor(near, daemon.ledger)
    assert code == 0 and "All is well." in said, said
    assert "ok  wan0 (veth, up) is metered by itself" in said["Devices"]
    assert any(line.startswith("ok  lo (loopback, up) isn't metered: devices.exclude has lo") for line in said["Devices"])
    assert said["Uplink"] == ["ok  wan0 is the uplink: the best default route is its IPv4 one, with metric 0"]
    assert "ok  a daemon runs on it, and answers this user" in said["Ledger"] and any("its integrity check passed" in line for line in said["Ledger"])
    assert any("the next day begins at" in line for line in said["Clock"])
    # Each way of reading counts a million bytes to the byte. The test network of `doctor` is gone afterwards.
    assert len(said["Counting"]) == 4
    for line in said["Counting"]:
        assert re.match(r"ok  .*: of 1000000 bytes 1000000 were counted where they were sent and 1000000 where they were received, "
                        "an error of 0 and 0 bytes", line)
    assert near.ip("link", "show") == links


def test_what_is_counted_twice_and_why_something_is_the_uplink(machine, tmp_path):
    near, daemon = machine
    near.bridge("br0", 5)
    near.ip("link", "add", "port0", "type", "veth", "peer", "name", "inside0")
    near.ip("link", "set", "port0", "master", "br0")
    near.ip("link", "add", "vpn0", "type", "vxlan", "id", "9", "remote", "10.0.0.2", "local", "10.0.0.1", "dstport", "4789")
    near.ip("link", "set", "vpn0", "up")
    near.ip("route", "replace", "default", "via", "10.0.0.2", "metric", "100")
    near.ip("route", "add", "default", "dev", "vpn0", "metric", "5")
    near.ip("route", "del", "default", "metric", "0")
    (tmp_path / "netusage.yaml").write_text("""
        devices: { exclude: [lo, inside*], collapse: ["wan*"] }
        quotas: [{ name: lan, count: [br0, "port*"], limit: 1 GB }]
        """)
    code, said = doctor(near, daemon.ledger, f"--config.file={tmp_path}/netusage.yaml")
    assert code == 1 and "2 things aren't as they should be." in said
    assert any(line.startswith("!!  the daemon goes by another configuration than ") for line in said["Ledger"])
    twice = said["Bytes that are counted twice"]
    assert any("vpn0 is a tunnel (vxlan)" in line for line in twice)
    assert any("port0 is a part of br0 (bridge): a sum over both counts most bytes twice" in line for line in twice)
    assert any(line.startswith("!!  the quota lan counts both port0 and br0") for line in twice)
    assert said["Uplink"][0].endswith("its IPv4 one, with metric 100") and "wan0 is the uplink" in said["Uplink"][0]
    assert any("vpn0 has a default route too, but isn't the uplink: it is a tunnel" in line for line in said["Uplink"])
    assert any("inside0 (veth, down) isn't metered: devices.exclude has inside*" in line for line in said["Devices"])
    assert any("wan0 (veth, up) is metered with all others that fit wan*" in line for line in said["Devices"])


def test_of_an_uplink_over_several_links_the_one_that_is_left_out_is_named(machine, namespaces, tmp_path):
    near, daemon = machine
    near.veth("wan1", namespaces(), "far1", number=1)
    near.ip("route", "replace", "default", "nexthop", "via", "10.0.0.2", "dev", "wan0", "nexthop", "via", "10.1.0.2", "dev", "wan1")
    (tmp_path / "netusage.yaml").write_text("devices: { exclude: [lo, wan1] }\n")
    config = f"--config.file={tmp_path}/netusage.yaml"
    code, said = doctor(near, daemon.ledger, config)
    assert code == 1 and "!!  the uplink wan1 isn't metered, so of the uplink only wan0 is counted: take it out of devices.exclude" in said["Uplink"]
    daemon.stop()
    daemon = type(daemon)(near, tmp_path, config, ledger=daemon.ledger)
    try:
        assert "a part of the uplink isn't metered, so its bytes aren't counted: take it out of devices.exclude\" device=wan1" in daemon.log
        # It is as the log says: only the bytes on the other link count.
        sent = near.send("10.0.0.2", 5)
        near.send("10.1.0.2", 7)
        assert daemon.metrics()["netusage_uplink_lifetime_transmit_bytes"] == sent
    finally:
        daemon.close()
    (tmp_path / "netusage.yaml").write_text("devices: { exclude: [lo, 'wan*'] }\n")
    said = doctor(near, daemon.ledger, config)[1]["Uplink"]
    assert sum("isn't metered, so nothing is counted for the uplink" in line for line in said) == 2


def test_what_is_wrong_is_told_and_counts(machine, tmp_path):
    near, daemon = machine
    near.ip("route", "del", "default")
    daemon.stop()
    code, said = doctor(near, daemon.ledger)
    assert code == 1 and any(line.startswith("!!  no daemon runs on it") for line in said["Ledger"])
    assert said["Uplink"] == ["i  there is no default route, so this machine is offline and nothing is the uplink"]
    with open(daemon.ledger, "r+b") as file:
        file.seek(2048)
        file.write(os.urandom(20_000))
    code, said = doctor(near, daemon.ledger)
    assert code == 1 and any(line.startswith("!!") and ("damaged" in line or "moves it aside" in line) for line in said["Ledger"]), said
    assert doctor(near, tmp_path / "none.db")[0] == 1
    (tmp_path / "bad.yaml").write_text("quota: []\n")
    code, said = doctor(near, daemon.ledger, f"--config.file={tmp_path}/bad.yaml")
    assert code == 1 and "did you mean quotas?" in said["Configuration"][0]


def test_who_isnt_root_is_told_what_only_root_sees(machine, tmp_path):
    near, daemon = machine
    program = "/usr/local/bin/netusage-doctor-test"
    run("install", "-m", "755", BINARY, program)
    try:
        done = subprocess.run(["ip", "netns", "exec", near.name, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program,
                               "doctor", f"--storage.path={daemon.ledger}"], capture_output=True, text=True, timeout=60)
    finally:
        os.unlink(program)
    assert done.returncode == 1 and "only root can send bytes to itself" in done.stdout
    assert "may not enter the directory" in done.stdout or "only the daemon's user and group may" in done.stdout, done.stdout


def test_stacked_devices_of_every_kind_and_plans_that_count_nothing_are_said(machine, tmp_path):
    near, daemon = machine
    near.ip("link", "add", "link", "wan0", "name", "mac0", "type", "macvlan", "mode", "bridge")
    (tmp_path / "netusage.yaml").write_text("""
        quotas:
          - { name: both, count: [wan0, "mac*"], limit: 1 GB }
          - { name: never, count: [eth9], limit: 1 GB }
        csv_log: { directory: /tmp, device: eth8 }
        """)
    config = f"--config.file={tmp_path}/netusage.yaml"
    code, said = doctor(near, daemon.ledger, config)
    assert code == 1
    twice = said["Bytes that are counted twice"]
    assert any("mac0 is a macvlan on wan0 (veth): a sum over both" in line for line in twice)
    assert any(line.startswith("!!  the quota both counts both mac0 and wan0") for line in twice)
    nobody = said["Bytes that nobody counts"]
    assert any("the quota never: it counts nothing: there is no device eth9" in line for line in nobody)
    assert any("csv_log: nothing is written: there is no device eth8" in line for line in nobody)
    check = lambda *words: subprocess.run(["ip", "netns", "exec", near.name, BINARY, *words], capture_output=True, text=True)
    checked = check("config", "check", f"{tmp_path}/netusage.yaml", f"--storage.path={daemon.ledger}")
    assert checked.returncode == 0 and "quota never: it counts nothing" in checked.stderr and "counts both mac0" in checked.stderr
    # The same if the uplink isn't metered. The daemon's log says so, too.
    (tmp_path / "netusage.yaml").write_text("""
        devices: { exclude: [lo, "wan*"] }
        quotas: [{ name: home, limit: 1 GB }, { name: never, count: [eth9], limit: 1 GB }]
        """)
    daemon.stop()
    daemon = type(daemon)(near, tmp_path, config, ledger=daemon.ledger)
    try:
        assert "the quota home: it counts nothing: the uplink is wan0" in daemon.log and "quota never" in daemon.log
        for name in ("home", "never"):
            done = check("check", name, config, f"--storage.path={daemon.ledger}")
            assert done.returncode == 3 and "counts nothing" in done.stdout, done.stdout
    finally:
        daemon.close()


def test_a_boot_that_cannot_be_told_is_said(machine, tmp_path):
    near, daemon = machine
    daemon.stop()
    hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc/sys/kernel/random; exec "$@"', "sh"]
    daemon = type(daemon)(near, tmp_path, ledger=daemon.ledger, prefix=hidden)
    try:
        assert "boot_id can't be read" in daemon.log
        code, said = doctor(near, daemon.ledger, prefix=hidden)
        assert code == 1 and any("boot_id can't be read" in line for line in said["Clock"])
    finally:
        daemon.close()
