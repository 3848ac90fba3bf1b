"""Asking a service whether it is well."""

import http.client


def require_ok(port: int, path: str) -> None:
    """Raises OSError or HTTPException unless GET answers 200 within 2 s. http.client: it loads fast, knows no proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != 200:
        raise OSError(f"GET {path} answered {status}")
