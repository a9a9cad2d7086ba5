import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from clients import CGROUPS, CLIENT, Peer, Puppet  # noqa: E402
from support import BINARY, PATIENCE, Exporter, Namespace  # noqa: E402


def pytest_configure(config):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} isn't there; run `make test`, which builds it", returncode=2)


# These look at all of netusage's kernel programs on the machine, so one process runs them one after the other.
KERNEL_PROGRAMS = ("test_dashboards", "test_package")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each process takes whole files."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = pathlib.PurePath(nodeid.partition("::")[0]).stem
            return "kernel programs" if file.startswith(KERNEL_PROGRAMS) else file

    return ByFile(config, log)


@pytest.fixture
def namespaces():
    """Makes namespaces, and deletes them at the end of the test."""
    made = []

    def make():
        made.append(Namespace())
        return made[-1]

    yield make
    for namespace in made:
        namespace.delete()


@pytest.fixture
def cable(namespaces):
    """Two namespaces with a cable: `wan0` in the first one, `far0` in the second. The first one's default route leads through it."""
    near, far = namespaces(), namespaces()
    near.veth("wan0", far, "far0")
    near.ip("route", "add", "default", "via", "10.0.0.2")
    return near, far


@pytest.fixture
def exporter(tmp_path):
    """Starts exporters. Kills the ones that still run at the end of the test."""
    started = []

    def start(namespace, *flags, **options):
        started.append(Exporter(namespace, options.pop("directory", tmp_path), *flags, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()
        print(f"{each.log_path.name}:\n{each.log}")  # pytest shows it if the test has failed.


@pytest.fixture
def serve():
    """Starts servers of servers.py, and ends them after the test: serve(Prometheus, namespace, …)."""
    started = []

    def start(kind, *arguments, **options):
        started.append(kind(*arguments, **options))
        return started[-1]

    yield start
    for each in reversed(started):
        each.close()


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

    def client(name, received, transmitted, address="203.0.113.5", cgroup=None, thread=""):
        path = f"{CGROUPS}/{cgroup}" if cgroup else ""
        if path:
            made.append(path)
        subprocess.run(["nsenter", f"--net={near.path}", "python3", "-c", CLIENT, name, path, thread, address,
                        str(received), str(transmitted)], check=True, timeout=60 * PATIENCE)

    yield near, client
    peer.close()
    for path in made:
        while path != CGROUPS:
            with contextlib.suppress(OSError):
                os.rmdir(path)
            path = os.path.dirname(path)


@pytest.fixture
def puppet():
    made = []

    def start(namespace, name):
        made.append(Puppet(namespace, name))
        return made[-1]

    yield start
    for each in made:
        each.close()
