"""A factory that has an authority of its own."""

import pathlib

from fleet.server import Device, run


class Maker:
    """A factory: its authority and what it makes, by openssl alone."""

    def __init__(self, server, tenant, name):
        self.server, self.tenant, self.name = server, tenant, name
        self.key, self.cert = server.folder / f"{name}.key", server.folder / f"{name}.pem"
        run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
            + ["-keyout", self.key, "-out", self.cert, "-subj", f"/CN={name} CA"]
        )

    def sign(self, subject, name, *options) -> tuple[pathlib.Path, pathlib.Path]:
        key, csr, cert = (self.server.devices / f"{self.name}-{name}.{end}" for end in ("key", "csr", "pem"))
        run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
            + ["-out", csr, "-subj", subject]
        )
        signing = ["openssl", "x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "30"]
        run([*signing, "-out", cert, *options])
        return key, cert

    def device(self, name) -> Device:
        extensions = self.server.folder / "leaf.ext"
        extensions.write_text("extendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n")
        key, cert = self.sign(f"/CN={name}/serialNumber=sn-{name}/C=DE", name, "-extfile", extensions)
        return Device(self.tenant, name, key, cert, self.server.ca)

    def register(self, *options) -> dict:
        code = self.server.ctl("factory-ca", "code", tenant=self.tenant)["code"]
        # Of version 1, as openssl writes it without extensions.
        _, proof = self.sign(f"/CN={code}", "proof")
        arguments = ["register", self.cert, "--verification", proof, "--name", self.name, *options]
        return self.server.ctl("factory-ca", *arguments, tenant=self.tenant)
