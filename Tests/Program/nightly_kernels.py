"""Applications on other kernels: those of Debian 12 and 13, each in an emulated machine. `make nightly` runs it."""

import pathlib
import re
import shutil
import subprocess
import textwrap

import pytest

from support import BINARY, PATIENCE, ROOT, run

# Debian's suites, and the kernels that these have.
KERNELS = [("bookworm", "6.1."), ("trixie", "6.12.")]

# An emulated machine is some thirty times slower, so these must do.
TESTS = ["each_program", "kill_loses", "reload", "older", "listener", "connects", "quotas", "after_the_close", "gone", "container",
         "tunnel"]

# What the emulated machine does instead of starting a system. What it prints comes out of its serial port.
INIT = textwrap.dedent("""\
    #!/bin/sh
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev
    mount -t tmpfs tmp /tmp
    mount -t tmpfs run /run
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    modprobe --all veth tun bridge
    ip link set lo up
    uname --kernel-release
    cd /netusage/Tests/Program
    NETUSAGE_PATIENCE=20 python3 -m pytest -p no:cacheprovider -q --tb=short test_applications.py test_application_bytes.py -k "TESTS"
    echo "ended with $?"
    echo b > /proc/sysrq-trigger
    """).replace("TESTS", " or ".join(TESTS))


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Debian's smallest system with what the tests of applications need, the tests, and netusage."""
    root = tmp_path_factory.mktemp("system")
    suite = re.search(r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)[1]
    packages = "iperf3,iproute2,kmod,libbpf1,libisal2,libsqlite3-0,libyaml-0-2,procps,python3-pytest,tzdata,util-linux"
    run("debootstrap", "--variant=minbase", f"--include={packages}", suite, root)
    shutil.copytree(ROOT / "Tests/Program", root / "netusage/Tests/Program", ignore=shutil.ignore_patterns("__pycache__"))
    place = root / "netusage/.build/release/netusage"
    place.parent.mkdir(parents=True)
    shutil.copy(BINARY, place)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    # Kernels of other suites come from where this one's packages do.
    sources = root / "etc/apt/sources.list"
    sources.write_text("".join(sources.read_text().replace(suite, each) for each, _ in KERNELS))
    run("chroot", root, "apt-get", "--quiet", "update")
    yield root
    shutil.rmtree(root)


def kernel(root, version, directory):
    """Puts a kernel's modules into the system, and returns the kernel's file."""
    names = run("chroot", root, "apt-cache", "search", "--names-only", rf"^linux-image-{re.escape(version)}.*-cloud-amd64$").split("\n")
    name = sorted(line.split()[0] for line in names if line)[-1]
    run("chroot", root, "sh", "-c", f"cd /root && rm -f *.deb && apt-get --quiet download {name}")
    (package,) = (root / "root").glob("*.deb")
    run("dpkg-deb", "--extract", package, directory)
    package.unlink()
    (modules,) = [*directory.glob("lib/modules/*"), *directory.glob("usr/lib/modules/*")]
    shutil.rmtree(root / "usr/lib/modules", ignore_errors=True)
    shutil.copytree(modules, root / "usr/lib/modules" / modules.name, symlinks=True)
    run("chroot", root, "depmod", modules.name)
    (file,) = directory.glob("boot/vmlinuz-*")
    return file


@pytest.mark.parametrize(("suite", "version"), KERNELS, ids=[version for _, version in KERNELS])
def test_applications_on_another_kernel(system, tmp_path, suite, version):
    file = kernel(system, version, tmp_path / "kernel")
    archive = tmp_path / "system.cpio"
    run("sh", "-c", f"cd {system} && find . -xdev -not -path './usr/share/doc/*' -not -path './var/*/apt/*' | "
        f"cpio --quiet --create --format=newc > {archive}")
    shown = run("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "4096", "-nographic", "-no-reboot",
                "-nic", "none", "-kernel", file, "-initrd", archive, "-append", "console=ttyS0 panic=-1 quiet", stdin=subprocess.DEVNULL,
                timeout=1800 * PATIENCE)
    print(shown)
    assert f"\n{version}" in shown.replace("\r", "") and "ended with 0" in shown
