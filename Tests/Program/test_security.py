"""TLS and users, with the web-config file of Prometheus exporters."""

import base64
import contextlib
import http.client
import os
import pathlib
import random
import re
import socket
import ssl
import statistics
import threading
import time
import warnings

import pytest

from support import PATIENCE, ROOT, eventually, run, stuck

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import crypt

PASSWORD = "correct: horse"


@pytest.fixture(scope="module")
def hashed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2**10))


def hash_of(password, cost=4):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2**cost))


def certificate(directory, name, stem="", alternative=None, key="rsa:2048"):
    run("openssl", "req", "-x509", "-newkey", key, "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", directory / f"{stem}key.pem", "-out", directory / f"{stem}cert.pem",
        "-addext", f"subjectAltName={alternative or 'DNS:' + name}")


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
    path.write_text("{}\n")  # This takes effect without a restart, when the file has been unchanged for a second.
    eventually(lambda: netusage.get("/metrics").status == 200)
    assert "protects less than before" in netusage.log


def is_listening(netusage):
    try:
        return netusage.get("/-/healthy").status in (200, 401)
    except (OSError, http.client.HTTPException):
        return False


def connect(netusage, authority, client=None, prepare=None):
    """A TLS connection. `client` is how the paths of the client's own certificate begin. `prepare` may change the context."""
    context = ssl.create_default_context(cafile=authority)
    if client:
        context.load_cert_chain(f"{client}cert.pem", f"{client}key.pem")
    if prepare:
        prepare(context)
    connection = http.client.HTTPSConnection("netusage.test", netusage.port, context=context, timeout=10 * PATIENCE)
    with netusage.namespace.entered():
        raw = socket.create_connection(("127.0.0.1", netusage.port), timeout=10 * PATIENCE)
    connection.sock = context.wrap_socket(raw, server_hostname="netusage.test")
    return connection


def scrape(netusage, authority, client=None, prepare=None, headers=None):
    with contextlib.closing(connect(netusage, authority, client, prepare)) as connection:
        connection.request("GET", "/metrics", headers=headers or {})
        answer = connection.getresponse()
        answer.body = answer.read()
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
    assert eventually(lambda: quietly(scrape, netusage, tmp_path / "cert.pem")).status == 200


def quietly(function, *arguments):
    try:
        return function(*arguments)
    except (OSError, http.client.HTTPException):
        return None


def test_a_bad_web_configuration_is_told_and_ends_with_78(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    for text, expected in (("basic_auth_users: { me: plain }\n", "bcrypt"), ("tls_server_config: { cert_file: x }\n", "key_file"),
                           ("tls_server_config: { cert_file: x, key_file: y }\n", "PEM"), ("nonsense: 1\n", "nonsense")):
        path.write_text(text)
        netusage = exporter(cable[0], f"--web.config.file={path}", wait=False)
        assert netusage.process.wait(20 * PATIENCE) == 78
        assert expected in netusage.log


def served(exporter, cable, path, *flags, **options):
    """Starts an exporter with a web-config file, and waits until it listens."""
    netusage = exporter(cable[0], f"--web.config.file={path}", *flags, wait=False, **options)
    eventually(lambda: listens(netusage), 20)
    return netusage


def listens(netusage):
    assert netusage.process.poll() is None, netusage.log
    return "listening" in netusage.log


def refused(exporter, cable, path, text):
    """Starts netusage with a bad web-config file. It must exit with 78. Returns its log."""
    path.write_text(text)
    netusage = exporter(cable[0], f"--web.config.file={path}", wait=False)
    assert netusage.process.wait(20 * PATIENCE) == 78, netusage.log
    return netusage.log


def refuses_in_plain(netusage):
    with pytest.raises((OSError, http.client.HTTPException)):
        netusage.get("/metrics")


PAIR = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
REQUIRED = "  client_auth_type: RequireAndVerifyClientCert\n"


def test_the_example_of_the_manual_is_good(cable, exporter, tmp_path):
    example, = [block for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "deploy/manual/configuration.md").read_text(), re.S)
                if "basic_auth_users" in block]
    certificate(tmp_path, "netusage.test")
    certificate(tmp_path, "client", "client-", "DNS:prometheus.example.org")
    (tmp_path / "client-cert.pem").rename(tmp_path / "ca.pem")
    (tmp_path / "client-cert.pem").symlink_to("ca.pem")
    path = tmp_path / "web.yml"
    path.write_text(example.replace("$2y$10$…", hash_of("p")))
    netusage = served(exporter, cable, path)
    answer = scrape(netusage, tmp_path / "cert.pem", tmp_path / "client-", headers=basic("prometheus", "p"))
    assert answer.status == 200 and answer.headers["Strict-Transport-Security"] == "max-age=31536000"


# The file changes

def test_a_file_that_is_emptied_or_half_written_opens_nothing(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    text = f"http_server_config: {{ headers: {{ X-Frame-Options: deny }} }}\nbasic_auth_users:\n  prom: {hash_of('p')}\n"
    path.write_text(text)
    netusage = served(exporter, cable, path)
    stop = threading.Event()

    def rewrite():
        while not stop.is_set():
            with open(path, "w") as file:
                for character in text:
                    file.write(character)
                    file.flush()
                    time.sleep(0.0002)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            assert netusage.get("/metrics").status == 401
    finally:
        stop.set()
        writer.join()
    for wrong in ("", "# prom\n", text[:-20], text.split("basic")[0] + "basic_auth_users:\n"):
        path.write_text(text)
        time.sleep(1.2)  # The file is good again, so netusage logs the next error, even if it is the same one.
        path.write_text(wrong)
        errors = netusage.log.count("the previous one stays in use")
        eventually(lambda: netusage.log.count("the previous one stays in use") > errors)
        time.sleep(1.2)
        assert netusage.log.count("the previous one stays in use") == errors + 1  # Logged once.
        assert netusage.get("/metrics").status == 401
        assert netusage.get("/metrics", headers=basic("prom", "p")).status == 200
    os.remove(path)
    eventually(lambda: "No such file" in netusage.log)
    assert netusage.get("/metrics").status == 401


def test_tls_is_neither_switched_off_nor_on_by_a_change(cable, exporter, tmp_path):
    certificate(tmp_path, "netusage.test")
    path = tmp_path / "web.yml"
    path.write_text(PAIR)
    netusage = served(exporter, cable, path)
    for text in ("", "{}\n", "basic_auth_users: {}\n"):
        path.write_text(PAIR)
        time.sleep(1.2)
        path.write_text(text)
        errors = netusage.log.count("the previous one stays in use")
        eventually(lambda: netusage.log.count("the previous one stays in use") > errors)
        refuses_in_plain(netusage)
        assert scrape(netusage, tmp_path / "cert.pem").status == 200
    assert "restart netusage" in netusage.log
    netusage.stop()
    path.write_text("{}\n")
    netusage = served(exporter, cable, path)
    path.write_text(PAIR)
    eventually(lambda: "restart netusage" in netusage.log)
    assert netusage.get("/metrics").status == 200


def test_the_last_of_two_changes_holds(cable, exporter, tmp_path):
    """The second change comes while netusage still reads the first one. That takes a while, because the key answers late."""
    certificate(tmp_path, "netusage.test")
    path = tmp_path / "web.yml"
    hashes = [hash_of(f"p{number}") for number in range(2)]

    def put(number):
        (tmp_path / "new").write_text(f"{PAIR}basic_auth_users: {{ u: '{hashes[number]}' }}\n")
        os.rename(tmp_path / "new", path)

    def status(number):
        return scrape(netusage, tmp_path / "cert.pem", headers=basic("u", f"p{number}")).status

    put(0)
    netusage = served(exporter, cable, path, environment=stuck(tmp_path))
    (tmp_path / "stuck").write_text(f"400 {tmp_path}/key.pem")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for number in range(10):
        first, last = 1 - number % 2, number % 2
        put(first)
        time.sleep(chance.uniform(0.3, 0.9))
        put(last)
        eventually(lambda: status(last) == 200, 5)
        time.sleep(1.5)
        assert (status(last), status(first)) == (200, 401)


def test_once_a_change_is_logged_the_old_password_is_dead(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ u: '{hash_of('p0', 8)}' }}\n")
    netusage = served(exporter, cable, path)
    assert netusage.get("/metrics", headers=basic("u", "p0")).status == 200
    for number in range(1, 6):
        path.write_text(f"basic_auth_users: {{ u: '{hash_of(f'p{number}', 8)}' }}\n")
        eventually(lambda: netusage.log.count("was read again") == number, every=0.001)
        assert netusage.get("/metrics", headers=basic("u", f"p{number - 1}")).status == 401
        assert netusage.get("/metrics", headers=basic("u", f"p{number}")).status == 200
    # An old password doesn't work even if its check began before the change. The check takes longer than netusage needs to see the change.
    path.write_text(f"basic_auth_users: {{ u: '{hash_of('slow', 15)}' }}\n")
    eventually(lambda: netusage.log.count("was read again") == 6)
    path.write_text(f"basic_auth_users: {{ u: '{hash_of('new')}' }}\n")
    assert netusage.get("/metrics", headers=basic("u", "slow")).status == 401


def test_a_feed_ends_with_the_password_it_began_by(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ u: '{hash_of('old')}' }}\n")
    netusage = served(exporter, cable, path)
    connection = http.client.HTTPConnection("127.0.0.1", netusage.port, timeout=20)
    with netusage.namespace.entered():
        connection.connect()
    connection.request("GET", "/api/v1/live", headers=basic("u", "old") | {"Accept": "text/event-stream"})
    feed = connection.getresponse()
    assert feed.status == 200 and feed.readline()
    path.write_text(f"basic_auth_users: {{ u: '{hash_of('new')}' }}\n")
    with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
        while feed.readline():
            pass
    eventually(lambda: "was read again" in netusage.log)  # It is logged when the connections are closed.


# Files that don't answer

def test_a_certificate_that_is_a_fifo_is_an_error_and_nothing_waits(cable, exporter, tmp_path):
    certificate(tmp_path, "netusage.test")
    path = tmp_path / "web.yml"
    path.write_text(PAIR)
    netusage = served(exporter, cable, path)
    os.rename(tmp_path / "cert.pem", tmp_path / "kept.pem")
    os.mkfifo(tmp_path / "cert.pem")
    eventually(lambda: "plain file" in netusage.log)
    assert scrape(netusage, tmp_path / "kept.pem").status == 200
    began = time.monotonic()
    netusage.stop()
    assert time.monotonic() - began < 3 * PATIENCE
    assert "plain" in refused(exporter, cable, path, PAIR)


def test_a_start_with_an_empty_file_is_warned_of(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    for text, is_warned in (("", True), ("# nothing\n", True), ("basic_auth_users: {}\n", False)):
        path.write_text(text)
        netusage = served(exporter, cable, path)
        assert ("the web configuration is empty" in netusage.log) == is_warned, netusage.log
        assert netusage.get("/metrics").status == 200
        netusage.stop()


def test_a_file_system_that_doesnt_answer_stops_nothing(cable, exporter, tmp_path):
    environment = stuck(tmp_path)
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ u: '{hash_of('p')}' }}\n")
    netusage = served(exporter, cable, path, environment=environment)
    (tmp_path / "stuck").write_text(f"0 {path}")
    eventually(lambda: "doesn't answer" in netusage.log, 20)
    for password, status in (("p", 200), ("wrong", 401), ("p", 200)):
        assert netusage.get("/metrics", headers=basic("u", password), timeout=2).status == status
    began = time.monotonic()
    netusage.stop()
    assert time.monotonic() - began < 3 * PATIENCE
    # At start, netusage has to wait for the file, but it can be ended. The same holds while the kernel's lock is held.
    for what in (path, "netlink"):
        (tmp_path / "stuck").write_text(f"0 {what}")
        netusage = exporter(cable[0], f"--web.config.file={path}", wait=False, environment=environment)
        time.sleep(1)
        assert netusage.process.poll() is None
        netusage.process.terminate()
        assert netusage.process.wait(3 * PATIENCE) == -15


# Certificates and algorithms

def test_pem_texts_may_stand_in_the_file_itself(cable, exporter, tmp_path):
    certificate(tmp_path, "netusage.test")
    path = tmp_path / "web.yml"
    texts = {key: "".join(f"    {line}\n" for line in (tmp_path / f"{key}.pem").read_text().splitlines())
             for key in ("cert", "key")}
    path.write_text("tls_server_config:\n" + "".join(f"  {key}: |\n{text}" for key, text in texts.items()))
    netusage = served(exporter, cable, path)
    assert scrape(netusage, tmp_path / "cert.pem").status == 200
    assert "every user of this machine can read the secrets" in netusage.log
    assert "BEGIN" not in netusage.log


def test_certificates_that_make_no_sense_end_with_78(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    certificate(tmp_path, "netusage.test")
    certificate(tmp_path, "other.test", "other-")
    (tmp_path / "empty.pem").touch()
    key = (tmp_path / "key.pem").read_text()
    pasted = "".join(f"    {line}\n" for line in key.splitlines())
    for text, expected in (
            (PAIR.replace("cert.pem", "other-cert.pem"), "doesn't belong to the certificate"),
            (PAIR.replace("cert.pem", "gone.pem"), "tls_server_config.cert_file"),
            (PAIR.replace("key.pem", "gone.pem"), "tls_server_config.key_file"),
            (PAIR.replace("cert.pem", "key.pem"), "no certificate as PEM"),
            (PAIR.replace("key.pem", "cert.pem"), "no private key as PEM"),
            (PAIR.replace("cert.pem", "/dev/zero"), "plain"),
            (PAIR + REQUIRED + "  client_ca_file: empty.pem\n", "client_ca_file: there is no certificate"),
            (PAIR + REQUIRED + "  client_ca_file: key.pem\n", "client_ca_file: there is no certificate"),
            (PAIR + REQUIRED + "  client_ca: none\n", "client_ca: there is no certificate"),
            (PAIR + "  client_ca_file: cert.pem\n", "no client is asked for a certificate"),
            (PAIR.split("  key_file")[0] + f"  key_file: |\n{pasted}", "is not a file's path"),
            ("tls_server_config:\n  cert_file: cert.pem\n  key: |\n" + pasted.replace("A", "B"), "no private key as PEM"),
            (key, "is not a mapping"), (f"basic_auth_users: |\n{pasted}", "basic_auth_users"),
            ('http_server_config: { headers: { "X-\u00c4": a } }\n', "is not a known key")):
        log = refused(exporter, cable, path, text)
        assert expected in log, (text, log)
        assert "BEGIN" not in log and not any(line in log for line in key.splitlines()[1:-1])


def test_clients_need_a_certificate_of_an_allowed_name(cable, exporter, tmp_path):
    certificate(tmp_path, "netusage.test")
    for stem, alternative in (("dns-", "DNS:prometheus.test"), ("ip-", "IP:192.0.2.7"), ("mail-", "email:me@example.org"),
                              ("uri-", "URI:spiffe://example.org/p"), ("other-", "DNS:other.test,IP:192.0.2.70")):
        certificate(tmp_path, "client", stem, alternative)
    stems = ["dns-", "ip-", "mail-", "uri-", "other-"]
    (tmp_path / "ca.pem").write_text("".join((tmp_path / f"{stem}cert.pem").read_text() for stem in stems))
    path = tmp_path / "web.yml"
    text = PAIR + REQUIRED + "  client_ca_file: ca.pem\n"
    names = "  client_allowed_sans: [prometheus.test, 192.0.2.7, me@example.org, 'spiffe://example.org/p']\n"
    path.write_text(text + names)
    netusage = served(exporter, cable, path)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        def only(context):
            context.minimum_version = context.maximum_version = version

        for stem in stems[:-1]:
            assert scrape(netusage, tmp_path / "cert.pem", tmp_path / stem, only).status == 200, stem
        assert quietly(scrape, netusage, tmp_path / "cert.pem", tmp_path / "other-", only) is None
        assert quietly(scrape, netusage, tmp_path / "cert.pem", None, only) is None
    with contextlib.closing(connect(netusage, tmp_path / "cert.pem", tmp_path / "dns-")) as kept:
        kept.request("GET", "/-/healthy")
        kept.getresponse().read()
        path.write_text(text + "  client_allowed_sans: [192.0.2.7]\n")
        eventually(lambda: "was read again" in netusage.log)
        with pytest.raises((OSError, http.client.HTTPException)):  # With its certificate, the client couldn't connect again now.
            kept.request("GET", "/-/healthy")
            kept.auto_open = False
            kept.getresponse().read()
    assert quietly(scrape, netusage, tmp_path / "cert.pem", tmp_path / "dns-") is None
    assert scrape(netusage, tmp_path / "cert.pem", tmp_path / "ip-").status == 200
    path.write_text(text.replace("RequireAndVerify", "Verify").replace("ClientCert", "ClientCertIfGiven"))
    eventually(lambda: "clients need no certificate any more" in netusage.log)
    assert scrape(netusage, tmp_path / "cert.pem").status == 200


def test_suites_and_curves_are_those_of_the_file(cable, exporter, tmp_path):
    certificate(tmp_path, "netusage.test")
    path = tmp_path / "web.yml"
    path.write_text(PAIR)
    netusage = served(exporter, cable, path)

    def works(suite=None, curve=None):
        def prepare(context):
            if suite:
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(suite)
            if curve:
                context.set_ecdh_curve(curve)

        answer = quietly(scrape, netusage, tmp_path / "cert.pem", None, prepare)
        return answer is not None and answer.status == 200

    assert works() and works("ECDHE-RSA-AES128-GCM-SHA256") and works("ECDHE-RSA-AES256-SHA")
    for suite in ("AES128-GCM-SHA256", "AES256-SHA", "AES128-SHA"):
        assert not works(suite), "without forward secrecy"
    path.write_text(PAIR + "  cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n"
                    "  curve_preferences: [CurveP521, CurveP384]\n")
    eventually(lambda: "was read again" in netusage.log)
    assert works("AES128-GCM-SHA256") and works("ECDHE-RSA-AES256-GCM-SHA384")
    assert not works("ECDHE-RSA-AES128-GCM-SHA256")
    assert works(curve="secp521r1") and works(curve="secp384r1") and not works(curve="prime256v1")
    path.write_text(PAIR + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n")
    eventually(lambda: netusage.log.count("was read again") == 2)
    assert works() and not works("ECDHE-RSA-AES256-GCM-SHA384")


# Answers

def test_headers_make_the_page_stricter_only(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    path.write_text("http_server_config: { headers: { X-Frame-Options: sameorigin, Content-Security-Policy: \"default-src *\","
                    " Strict-Transport-Security: max-age=5, X-Content-Type-Options: nosniff } }\n")
    netusage = served(exporter, cable, path)
    page, metrics = netusage.get("/"), netusage.get("/metrics")
    policies = page.headers.get_all("Content-Security-Policy")
    assert len(policies) == 2 and "default-src 'none'" in policies[0] and policies[1] == "default-src *"
    assert page.headers.get_all("X-Frame-Options") == ["DENY"]
    assert metrics.headers.get_all("X-Frame-Options") == ["sameorigin"]
    for answer in (page, metrics):
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers.get_all("Strict-Transport-Security") == ["max-age=5"]


def test_requests_beyond_the_limit_get_a_429(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    path.write_text("rate_limit: { interval: 1h, burst: 3 }\nhttp_server_config: { headers: { X-Frame-Options: deny } }\n")
    netusage = served(exporter, cable, path)
    answers = [netusage.get("/metrics") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["X-Frame-Options"] == "deny"


# Passwords

def test_passwords_are_bytes(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    composed, decomposed = "p\u00e4ss", "pa\u0308ss"
    path.write_text(f"basic_auth_users:\n  jos\u00e9: {hash_of(composed)}\n  jose\u0301: {hash_of(chr(0x301) + 'x')}\n"
                    f"  empty: {hash_of('')}\n", encoding="utf-8")
    netusage = served(exporter, cable, path)
    for user, password, status in (
            ("jos\u00e9", composed, 200), ("jos\u00e9", decomposed, 401), ("jose\u0301", "\u0301x", 200),
            ("jose\u0301", composed, 401), ("jos\u00e9", composed + "\0", 401), ("jos\u00e9", composed + "\0x", 401),
            ("empty", "", 200), ("empty", "\0x", 401)):
        for _ in range(2):
            assert netusage.get("/metrics", headers=basic(user, password)).status == status, (user, password)


def test_a_wrong_password_takes_the_same_time_for_every_user(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users:\n" + "".join(f"  cost{cost}: {hash_of('p', cost)}\n" for cost in (4, 8, 11)))
    netusage = served(exporter, cable, path)

    def seconds(user, number):
        began = time.perf_counter()
        assert netusage.get("/-/healthy", headers=basic(user, f"wrong{number}")).status == 401
        return time.perf_counter() - began

    medians = [statistics.median(seconds(user, number) for number in range(9)) for user in ("cost4", "cost8", "cost11", "nobody")]
    assert max(medians) < 1.5 * min(medians), medians


def test_guessers_keep_no_scraper_out(cable, exporter, tmp_path):
    """Forty clients guess passwords, from the scraper's own address."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{ prom: '{hash_of('right', 10)}' }}\n")
    netusage = served(exporter, cable, path)
    stop = threading.Event()

    def guess(guesser):
        connection = http.client.HTTPConnection("127.0.0.1", netusage.port, timeout=60)
        with netusage.namespace.entered():
            connection.connect()
        for number in range(100_000):
            if stop.is_set():
                return connection.close()
            connection.request("GET", "/metrics", headers=basic("prom", f"{guesser}-{number}"))
            connection.getresponse().read()

    guessers = [threading.Thread(target=guess, args=(number,)) for number in range(40)]
    for each in guessers:
        each.start()
    try:
        time.sleep(2)
        began = time.monotonic()
        assert netusage.get("/metrics", headers=basic("prom", "right"), timeout=10).status == 200
        assert time.monotonic() - began < 10 * PATIENCE
        assert netusage.get("/metrics", headers=basic("prom", "right"), timeout=1).status == 200
    finally:
        stop.set()
        for each in guessers:
            each.join()


# Warnings

def test_what_others_may_read_is_warned_of(cable, exporter, tmp_path):
    path = tmp_path / "web.yml"
    users = f"basic_auth_users: {{ u: '{hash_of('p')}' }}\n"
    everywhere = "--web.listen-address=0.0.0.0:10074"
    certificate(tmp_path, "netusage.test")
    os.chmod(tmp_path / "key.pem", 0o600)
    for text, mode, flags, warnings_expected in (
            ("{}", 0o644, (), []), ("{}", 0o644, (everywhere,), ["whoever reaches this address"]),
            (users, 0o600, (), []), (users, 0o600, (everywhere,), ["in plain text"]),
            (users, 0o644, (), ["can read the secrets"]), (users + PAIR, 0o600, (everywhere,), [])):
        path.write_text(text)
        os.chmod(path, mode)
        netusage = served(exporter, cable, path, *flags)
        eventually(lambda: netusage.log.count("listening") >= 1 + len(flags))
        found = [line for line in netusage.log.splitlines() if "level=warn" in line]
        assert len(found) == len(warnings_expected), netusage.log
        assert all(expected in line for expected, line in zip(warnings_expected, found)), netusage.log
        netusage.stop()
    os.chmod(tmp_path / "key.pem", 0o644)
    path.write_text(PAIR)
    assert "can read the private key" in served(exporter, cable, path).log
