"""A PKCS#11 token of SoftHSM2, made with the programs that come with it and with OpenSC."""

import os

from fleet.server import run

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "1234"


class Token:
    """A token `fleet` in a folder of its own. The environment of this process names it, so the server finds it too."""

    def __init__(self, folder):
        self.folder = folder / "token"
        (self.folder / "tokens").mkdir(parents=True)
        config = self.folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(config)
        os.environ["TOKEN_PIN"] = PIN
        run(["softhsm2-util", "--init-token", "--free", "--label", "fleet", "--so-pin", "4321", "--pin", PIN])

    def tool(self, *arguments):
        login = ["--module", LIBRARY, "--token-label", "fleet", "--login", "--pin", PIN]
        return run(["pkcs11-tool", *login, *arguments]).stdout.decode()

    def aes_key(self, label):
        self.tool("--keygen", "--key-type", "AES:32", "--label", label, "--sensitive", "--usage-decrypt")

    def take_away(self):
        (self.folder / "tokens").rename(self.folder / "away")
        (self.folder / "tokens").mkdir()

    def bring_back(self):
        (self.folder / "tokens").rmdir()
        (self.folder / "away").rename(self.folder / "tokens")
