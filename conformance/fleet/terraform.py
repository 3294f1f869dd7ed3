"""Terraform or OpenTofu, whichever is here, with the provider hashicorp/aws: the program runs in a copy of one of our folders.

Neither comes from Debian, PyPI or npm, and the provider is too large to be built in passing. So the program is named by
FLEETWARD_TERRAFORM, and where the registry cannot be reached, a mirror (`terraform providers mirror DIR` makes one) by
FLEETWARD_TERRAFORM_MIRROR.
"""

import os
import pathlib
import shutil
import subprocess

from fleet.server import ROOT, run

SOURCE = ROOT / "conformance" / "terraform"
SECONDS = 280


def program() -> str:
    return os.environ.get("FLEETWARD_TERRAFORM", "")


def missing() -> str | None:
    """Why it is not run here, or None."""
    if not program():
        return "name it by FLEETWARD_TERRAFORM, see docs/guides/terraform.md"
    return None if shutil.which(program()) else f"there is no {program()}"


def version():
    return [program(), "version"]


class Folder:
    """One of our folders, copied, with its state."""

    def __init__(self, server, name, **variables):
        self.path = server.folder / "terraform" / name
        shutil.copytree(SOURCE / name, self.path)
        id, secret = server.access
        variables = {"endpoint": server.device_url, "ca": server.ca, **variables}
        self.env = {
            "AWS_ACCESS_KEY_ID": id,
            "AWS_SECRET_ACCESS_KEY": secret,
            # No settings of whoever runs this.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "TF_IN_AUTOMATION": "1",
            "TF_CLI_CONFIG_FILE": str(self.settings()),
            **{f"TF_VAR_{name}": str(value) for name, value in variables.items()},
        }
        self("init", "-input=false")

    def settings(self) -> pathlib.Path:
        """The settings of the program: a mirror, where one is named."""
        file = self.path / "settings.tfrc"
        mirror = os.environ.get("FLEETWARD_TERRAFORM_MIRROR")
        path = f'  filesystem_mirror {{ path = "{pathlib.Path(mirror).resolve()}" }}\n' if mirror else ""
        file.write_text(f"provider_installation {{\n{path}}}\n" if mirror else "")
        return file

    def __call__(self, verb, *arguments, check=True) -> subprocess.CompletedProcess:
        command = [program(), f"-chdir={self.path}", verb, "-no-color", *arguments]
        return run(command, env=self.env, check=check, timeout=SECONDS)

    def say(self, **variables):
        """Variables from here on."""
        self.env.update({f"TF_VAR_{name}": str(value).lower() for name, value in variables.items()})

    def apply(self):
        self("apply", "-input=false", "-auto-approve")

    def changes(self) -> str:
        """What it would change; empty where everything is as it is declared."""
        planned = self("plan", "-input=false", "-detailed-exitcode", check=False)
        said = (planned.stdout + planned.stderr).decode(errors="replace")
        if planned.returncode not in (0, 2):
            raise RuntimeError(f"plan: exit {planned.returncode}: {said}")
        return said if planned.returncode == 2 else ""

    def refusal(self, target) -> str:
        """What is said where one resource cannot be made."""
        done = self("apply", "-input=false", "-auto-approve", f"-target={target}", check=False)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode == 0:
            raise AssertionError(f"{target} was made: {said}")
        return " ".join(said.replace("│", " ").split())
