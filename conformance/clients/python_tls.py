"""Python's `ssl` (OpenSSL): TLS 1.2 and 1.3, with sessions that are resumed, before and after a device is revoked."""

import base64
import socket
import ssl

from fleet.server import Server, run
from fleet.story import Story, expect, holds

story = Story("python-tls")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class Caller:
    """A device that keeps its TLS session and comes back with it."""

    def __init__(self, server, device, version):
        self.port = server.device_port
        self.context = ssl.create_default_context(cafile=device.ca)
        self.context.load_cert_chain(device.cert, device.key)
        self.context.minimum_version = self.context.maximum_version = version
        request = run(["openssl", "req", "-new", "-key", device.key, "-subj", f"/CN={device.name}", "-outform", "DER"])
        self.body = base64.b64encode(request.stdout)
        self.session = None

    def renews(self):
        """Whether the session was resumed, and the status of the answer."""
        raw = socket.create_connection(("localhost", self.port), timeout=10)
        with self.context.wrap_socket(raw, server_hostname="localhost", session=self.session) as tls:
            head = "POST /.well-known/est/simplereenroll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n"
            tls.sendall(f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body)
            answer = tls.recv(65536)
            # With TLS 1.3 the ticket comes with the first answer.
            self.session = tls.session
            return tls.session_reused, int(answer.split(b" ", 2)[1])


@story.check
def resumed_and_revoked(server):
    """A revoked device is refused on a resumed session too, which looks at no certificate"""
    for version in VERSIONS:
        name = f"tls-{version.name.lower().replace('_', '-')}"
        caller = Caller(server, server.enrol("acme", name), version)
        expect(caller.renews(), (False, 200), f"{name}: a full hand-shake")
        expect(caller.renews(), (True, 200), f"{name}: a resumed session")
        server.ctl("device", "revoke", name, tenant="acme")
        expect(caller.renews(), (True, 401), f"{name}: a resumed session after the revocation")
        expect(caller.renews()[1], 401, f"{name}: and ever after")


@story.check
def one_record(server):
    """The answer's head and body come in one piece, as strongSwan 5.9.8 reads them"""
    context = ssl.create_default_context(cafile=server.ca)
    for version in VERSIONS:
        context.minimum_version = context.maximum_version = version
        raw = socket.create_connection(("localhost", server.device_port), timeout=10)
        with context.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(b"GET /.well-known/est/acme/cacerts HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = tls.recv(16384)
            holds(answer.startswith(b"HTTP/1.1 200 "), answer[:40])
            head, body = answer.split(b"\r\n\r\n", 1)
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            expect(len(body), int(length.split(b":")[1]), "the body within the first record")
            holds(b"chunked" not in head.lower() and b"\n" not in body, "whole and on one line")


@story.check
def nothing_is_told_of_tenants(server):
    """The hand-shake names no authorities, by which a stranger would learn who is here"""
    done = run(["openssl", "s_client", "-connect", f"localhost:{server.device_port}", "-CAfile", server.ca], stdin=b"")
    said = done.stdout.decode(errors="replace")
    holds("No client certificate CA names sent" in said, said)
    holds("Devices" not in said, said)


def main():
    with Server() as server:
        expect(server.tenant("acme"), "acme")
        story.tell(server)


if __name__ == "__main__":
    main()
