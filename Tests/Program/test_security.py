"""TLS and users, by the web-config file that every Prometheus exporter takes."""

import base64
import http.client
import ssl
import warnings

import pytest

from support import PATIENCE, eventually, run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import crypt

PASSWORD = "correct: horse"


@pytest.fixture(scope="module")
def hashed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2**10))


def certificate(directory, name):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", directory / "key.pem", "-out", directory / "cert.pem", "-addext", f"subjectAltName=DNS:{name}")


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_users_and_their_passwords(cable, exporter, tmp_path, hashed):
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users:\n  prometheus: {hashed}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n")
    netusage = exporter(cable[0], f"--web.config.file={path}", wait=False)
    eventually(lambda: is_listening(netusage), 20)
    assert netusage.get("/metrics").status == 401
    assert netusage.get("/metrics").headers["WWW-Authenticate"].startswith("Basic")
    for user, password, status in (("prometheus", PASSWORD, 200), ("prometheus", "wrong", 401), ("nobody", PASSWORD, 401),
                                   ("prometheus", "", 401), ("", "", 401)):
        for _ in range(2):
            answer = netusage.get("/metrics", headers=basic(user, password))
            assert answer.status == status, (user, password)
            assert answer.headers["X-Frame-Options"] == "deny"
    assert netusage.get("/", headers={"Authorization": "Basic !!!"}).status == 401
    path.write_text("{}\n")  # Taken up without a restart.
    assert netusage.get("/metrics").status == 200


def is_listening(netusage):
    try:
        return netusage.get("/-/healthy").status in (200, 401)
    except (OSError, http.client.HTTPException):
        return False


def scrape(netusage, authority):
    context = ssl.create_default_context(cafile=authority)
    connection = http.client.HTTPSConnection("netusage.test", netusage.port, context=context, timeout=10 * PATIENCE)
    with netusage.namespace.entered():
        raw = http.client.HTTPConnection("127.0.0.1", netusage.port, timeout=10 * PATIENCE)
        raw.connect()
    connection.sock = context.wrap_socket(raw.sock, server_hostname="netusage.test")
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def test_tls_and_a_certificate_that_is_renewed(cable, exporter, tmp_path):
    certificate(tmp_path, "netusage.test")
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: { cert_file: cert.pem, key_file: key.pem }\n")
    netusage = exporter(cable[0], f"--web.config.file={path}", wait=False)
    first = (tmp_path / "cert.pem").read_bytes()
    answer = eventually(lambda: quietly(scrape, netusage, tmp_path / "cert.pem"), 20)
    assert answer.status == 200 and b"netusage_build_info" in answer.body
    with pytest.raises((OSError, http.client.HTTPException)):
        netusage.get("/metrics")
    certificate(tmp_path, "netusage.test")
    assert (tmp_path / "cert.pem").read_bytes() != first
    assert scrape(netusage, tmp_path / "cert.pem").status == 200


def quietly(function, *arguments):
    try:
        return function(*arguments)
    except OSError:
        return None


def test_a_bad_web_configuration_is_told_and_ends_with_78(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    for text, expected in (("basic_auth_users: { me: plain }\n", "bcrypt"), ("tls_server_config: { cert_file: x }\n", "key_file"),
                           ("tls_server_config: { cert_file: x, key_file: y }\n", "PEM"), ("nonsense: 1\n", "nonsense")):
        path.write_text(text)
        netusage = exporter(cable[0], f"--web.config.file={path}", wait=False)
        assert netusage.process.wait(20 * PATIENCE) == 78
        assert expected in netusage.log
