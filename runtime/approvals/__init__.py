"""Tools that a person has to confirm, and what becomes of the runs that wait for one.

Agent files need three words of it: `from runtime.approvals import allow, confirm, deny`.
"""

from runtime.approvals.tools import allow, confirm, deny

__all__ = ["allow", "confirm", "deny"]
