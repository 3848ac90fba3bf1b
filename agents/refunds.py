"""Pays money back, but only after a person has confirmed it: the run pauses until then."""

from agno.agent import Agent

from runtime.approvals import confirm
from runtime.models import default_model

PAID = {"A-1001": 4900, "A-1002": 12900, "A-1003": 0}  # cents


def paid_amount(order_id: str) -> int:
    """Says how many cents were paid for an order.

    Args:
        order_id: The order's number, such as A-1001.
    """
    return PAID.get(order_id.upper(), 0)


def refund(order_id: str) -> str:
    """Pays back what was paid for an order. A person must confirm it.

    Args:
        order_id: The order's number, such as A-1001.
    """
    cents = PAID.get(order_id.upper(), 0)
    if not cents:
        raise ValueError(f"nothing was paid for {order_id}")
    return f"{cents / 100:.2f} dollars go back to the customer of {order_id.upper()}"


refunds = Agent(
    id="refunds",
    name="Refunds",
    role="Pays money back after a person has confirmed it",
    model=default_model(),
    tools=[paid_amount, confirm(refund)],
    instructions="Check what was paid before you refund anything.",
)
