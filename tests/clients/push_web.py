"""A sender on pywebpush: push_web.py SUBSCRIPTION GONE

Sends to a subscription (JSON: endpoint, p256dh, auth) what it should take and what it should refuse. Prints a line of
JSON with the statuses that came back.
"""

import json
import sys
import time

from py_vapid import Vapid
from pywebpush import WebPushException, webpush

DAY_S = 24 * 3600


def main(subscription, gone):
    vapid = Vapid()
    vapid.generate_keys()
    # Lets out what it would refuse itself.
    vapid.conf["no-strict"] = True

    def send(to=subscription, data='{"title":"Battery low","id":"push-1"}', claims=None, headers=None):
        info = {"endpoint": to["endpoint"], "keys": {"p256dh": to["p256dh"], "auth": to["auth"]}}
        claims = {"sub": "mailto:ops@example.com"} | (claims or {})
        headers = {"Topic": "alarm-7", "Urgency": "high"} | (headers or {})
        try:
            return webpush(info, data, vapid, claims, ttl=3600, headers=headers, timeout=20).status_code
        except WebPushException as error:
            return error.status_code

    other_keys = subscription | {"auth": gone["auth"]}
    unknown = subscription | {"endpoint": subscription["endpoint"] + "x"}
    print(json.dumps({
        "accepted": send(),
        "gone": send(to=gone),
        "unknown": send(to=unknown),
        "other_keys": send(to=other_keys),
        "other_service": send(claims={"aud": "https://push.example.com"}),
        "too_long": send(claims={"exp": int(time.time()) + DAY_S + 600}),
        "no_contact": send(claims={"sub": "mailto: <ops@example.com>"}),
        "long_topic": send(headers={"Topic": "x" * 33}),
        "odd_urgency": send(headers={"Urgency": "critical"}),
        "large": send(data="x" * 4096),
    }))


main(*(json.loads(argument) for argument in sys.argv[1:]))
