"""SoftHSM2 and OpenSC: the root key under an AES key of a token, a tenant's issuing key in it, and what goes wrong."""

import pathlib
import tempfile

from fleet.server import Server, programs, run
from fleet.story import Story, expect, holds
from fleet.token import LIBRARY, Token

story = Story("softhsm2")
URI = "pkcs11:token=fleet;object=fleetward-root"
ISSUING = "pkcs11:token=fleet;object=acme-issuing"
TOKEN = ["--pkcs11-module", LIBRARY, "--pkcs11-pin", "env:TOKEN_PIN"]


def refused(server, arguments, env=None):
    """Starts the server as it must not start; what it said."""
    command = [programs() / "fleetward", "serve", "--data-dir", server.data]
    for door in ("operator", "device", "mqtt", "metrics"):
        command += [f"--{door}-listen", "127.0.0.1:0"]
    done = run([*command, *arguments], env=env, check=False, timeout=60)
    expect(done.returncode, 1, "how it ended")
    return done.stderr.decode()


@story.check
def issues_from_the_token(server):
    """A tenant's issuing key is made in the token, and a device enrols with openssl and curl"""
    server.ctl("tenant", "create", "acme", "--issuing-key", ISSUING)
    objects = server.token_maker.tool("--list-objects")
    holds("acme-issuing" in objects and "never extractable" in objects, objects)
    device = server.enrol("acme", "gw-1")
    run(["openssl", "verify", "-partial_chain", "-CAfile", chain(server), device.cert])


def chain(server):
    """The authorities of acme as openssl takes them."""
    status, body = server.est("acme/cacerts")
    expect(status, 200)
    return server.keep_certificate("acme-ca", body)


@story.check
def nothing_of_the_key_is_elsewhere(server):
    """The database has the certificate of the authority and no key of it; the PIN is nowhere"""
    server.stop()
    for path in server.data.rglob("*"):
        if path.is_file() and path.name not in ("setup-token",):
            holds(b"1234\n" not in path.read_bytes(), f"the PIN in {path}")
    said = run([programs() / "fleetward", "seal", "status", "--data-dir", server.data, "--seal", URI, *TOKEN]).stdout.decode()
    holds(f"under {URI}" in said, said)
    server.start()


@story.check
def goes_on_after_a_restart(server):
    """After kill -9 and a restart a device renews and another enrols"""
    server.kill()
    server.start()
    device = server.enrol("acme", "gw-2")
    _, request = server.key_and_request("gw-2-next", "/CN=gw-2")
    status, _ = server.est("acme/simplereenroll", request, "--cert", device.cert, "--key", device.key)
    expect(status, 200, "renewal")


@story.check
def a_wrong_pin(server):
    """A wrong PIN is told as one, and is not tried until the token locks itself"""
    server.stop()
    for _ in range(5):
        said = refused(server, ["--seal", URI, *TOKEN], env={"TOKEN_PIN": "9999"})
        holds("the PIN is wrong" in said and "9999" not in said, said)
    server.start()


@story.check
def the_token_is_gone(server):
    """Without its token the server does not start and says so; with it again it does"""
    server.stop()
    server.token_maker.take_away()
    said = refused(server, ["--seal", URI, *TOKEN])
    holds("out of reach" in said and "no token" in said, said)
    said = refused(server, ["--seal", URI, "--pkcs11-module", "/nowhere/lib.so", "--pkcs11-pin", "env:TOKEN_PIN"])
    holds("/nowhere/lib.so" in said, said)
    server.token_maker.bring_back()
    server.start()
    server.enrol("acme", "gw-3")


@story.check
def another_seal(server):
    """The root key moves to a file and back; the seal before opens no more"""
    server.stop()
    moved = f"file:{server.folder / 'moved.key'}"
    migrate = [programs() / "fleetward", "seal", "migrate", "--data-dir", server.data, *TOKEN]
    run([*migrate, "--seal", URI, "--to", moved])
    said = refused(server, ["--seal", URI, *TOKEN])
    holds("the root key is sealed by master-key" in said, said)
    run([*migrate, "--seal", moved, "--to", URI])
    server.start()
    server.enrol("acme", "gw-4")


@story.check
def rotated_and_disabled(server):
    """Keys are rotated under load of a device, disabled (503), and enabled again"""
    server.ctl("vault", "rotate", "--installation")
    server.ctl("vault", "rotate", tenant="acme")
    server.enrol("acme", "gw-5")
    token = server.enrol_token("acme", "gw-6")
    _, request = server.key_and_request("gw-6")
    server.ctl("vault", "disable", "--reason", "rehearsal", tenant="acme")
    status, _ = server.est("acme/simpleenroll", request, "-u", f"gw-6:{token}")
    expect(status, 503, "while disabled")
    holds(server.ctl("vault", "status", tenant="acme")["disabled"]["reason"] == "rehearsal", "it says why")
    server.ctl("vault", "enable", tenant="acme")
    status, _ = server.est("acme/simpleenroll", request, "-u", f"gw-6:{token}")
    expect(status, 200, "afterwards")


def main():
    server = Server(arguments=["--seal", URI, *TOKEN])
    server.folder.mkdir(parents=True, exist_ok=True)
    # SoftHSM2 refuses long paths of sockets and the like nowhere, but its folder must outlive the server's.
    with tempfile.TemporaryDirectory(prefix="fleetward-token-") as folder:
        server.token_maker = Token(pathlib.Path(folder))
        server.token_maker.aes_key("fleetward-root")
        with server:
            story.tell(server)


if __name__ == "__main__":
    main()
