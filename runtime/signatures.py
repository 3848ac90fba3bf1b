"""Who may send a webhook: Standard Webhooks signatures (standardwebhooks.com), compared in constant time."""

import binascii
from collections.abc import Mapping

from standardwebhooks import Webhook, WebhookVerificationError

from runtime.problems import Problem

MAX_ID = 255


def verify(secret: str | None, headers: Mapping[str, str], body: bytes) -> str:
    """The delivery's id (`webhook-id`). Raises a 401 Problem: no secret, headers missing, old, or not signed with it.

    A timestamp may be five minutes off, either way: a delivery that was recorded cannot be played later.
    """
    if not secret:
        raise Problem(401, "webhooks are refused: WEBHOOK_SECRET is not set")
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8: byte {error.start}") from error
    except WebhookVerificationError as error:
        raise Problem(401, f"the signature does not hold: {str(error).lower()}") from error
    except (ValueError, binascii.Error) as error:
        raise Problem(401, "the signature does not hold: webhook-signature is not of the form v1,<base64>") from error
    delivery_id = headers["webhook-id"]
    if len(delivery_id) > MAX_ID:
        raise Problem(422, f"webhook-id is longer than {MAX_ID} characters", field="webhook-id")
    return delivery_id
