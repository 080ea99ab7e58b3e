"""What stands before a team's tracking server: TLS with a private certificate, and a token in place of a password."""

from __future__ import annotations

import base64
import datetime
import http.client
import ipaddress
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "a-token-of-the-team"
_NOT_PASSED_ON = {"connection", "transfer-encoding", "content-length", "host", "authorization"}


class Gateway:
    """Takes requests with the token, and passes them on to the server at `port` with its user and password.

    Attributes:
        certificate: the file that clients need in order to trust it.
    """

    def __init__(self, port: int, user: str, password: str, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        key = _write_certificate(self.certificate, folder / "key.pem")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port, f"Basic {basic}"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.uri = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(port: int, authorization: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(401, {}, b"no token")
                return
            passed = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request(self.command, self.path, body, {**passed, "Authorization": authorization})
                answer = connection.getresponse()
                self._answer(answer.status, dict(answer.getheaders()), answer.read())

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._pass_on
            raise AttributeError(name)

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _write_certificate(file: Path, key_file: Path) -> Path:
    """A certificate for this machine that only who has the file trusts; returns the file of its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    signed = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return key_file
