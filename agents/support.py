"""Answers customers of a shop: where an order is, what a customer has ordered, what is in stock."""

from agno.agent import Agent

from runtime.models import default_model

ORDERS = {
    "A-1001": {"customer": "C-1", "item": "desk lamp", "status": "on its way, arrives on Friday"},
    "A-1002": {"customer": "C-1", "item": "bookshelf", "status": "delivered"},
    "A-1003": {"customer": "C-2", "item": "desk lamp", "status": "waiting for payment"},
}
STOCK = {"desk lamp": 12, "bookshelf": 0, "armchair": 3}


def order_status(order_id: str) -> str:
    """Says where an order is.

    Args:
        order_id: The order's number, such as A-1001.
    """
    order = ORDERS.get(order_id.upper())
    if order is None:
        raise ValueError(f"there is no order {order_id}")
    return f"{order_id.upper()} ({order['item']}): {order['status']}"


def customer_orders(customer_id: str) -> list[str]:
    """Lists the orders of a customer.

    Args:
        customer_id: The customer's number, such as C-1.
    """
    return [number for number, order in ORDERS.items() if order["customer"] == customer_id.upper()]


def stock() -> dict[str, int]:
    """Says how many pieces of each item are in stock."""
    return STOCK


support = Agent(
    id="support",
    name="Support",
    role="Answers questions about orders and stock",
    model=default_model(),
    tools=[order_status, customer_orders, stock],
    instructions="Look things up before you answer. Say so when an order does not exist.",
    add_history_to_context=True,
    num_history_runs=3,
)
