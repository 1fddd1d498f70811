"""What the commands end with when the user can fix it."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user can fix; the message says how."""
