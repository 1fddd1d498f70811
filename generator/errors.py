"""What the commands end with when the user can mend it."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user can mend; the message says how."""
