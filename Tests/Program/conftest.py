import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from clients import puppet, world  # noqa: E402, F401
from support import BINARY, Exporter, Namespace  # noqa: E402


def pytest_configure(config):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} isn't there; run `make test`, which builds it", returncode=2)


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
