"""What the conformance scripts share: a real server of their own, enrolled devices, and a way to tell what held.

Only the standard library; clients of others are imported by the scripts that need them.
"""

from fleet.server import Device, Server, programs
from fleet.story import Story

__all__ = ["Device", "Server", "Story", "programs"]
