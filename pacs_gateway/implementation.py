"""How this implementation names itself in associations and in file meta information."""

from __future__ import annotations

IMPLEMENTATION_CLASS_UID = "2.25.295046347112508906133218404117652039712"
"""(0002,0012), drawn once from a UUID (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME = "ROI_0.1"
"""(0002,0013), 16 characters at most."""
