"""A sender on standardwebhooks: push_webhook.py URL SECRET

Sends a webhook with the right signature, and some with a wrong one. Prints a line of JSON with the statuses that came
back.
"""

import datetime
import json
import sys
import urllib.error
import urllib.request

from standardwebhooks.webhooks import Webhook


def main(url, secret):
    def send(signed_with=secret, age_s=0, changed=""):
        body = json.dumps({"title": "Battery low"})
        at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age_s)
        headers = {
            "content-type": "application/json",
            "webhook-id": "push-1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(signed_with).sign("push-1", at, body),
        }
        request = urllib.request.Request(url, (body + changed).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    print(json.dumps({
        "accepted": send(),
        "other_secret": send(signed_with="whsec_" + "A" * 32),
        "old": send(age_s=600),
        "changed": send(changed=" "),
    }))


main(*sys.argv[1:])
