"""A sender on Google's own client, with the schema that comes with it: push_fcm.py ACCOUNT URL SCHEMA REGISTRATION FORM

Sends to a registration what it should take and what it should refuse, and compares the schema in a file with that
which Google publishes. Prints a line of JSON with what came back.
"""

import json
import re
import sys
import uuid

from google.oauth2 import service_account
from googleapiclient import discovery, discovery_cache, errors

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
KEPT = ("$ref", "type", "format", "enum", "items", "additionalProperties")


def published():
    """The part of the discovery document that a message is checked against, without its prose."""
    document = json.loads(discovery_cache.get_static_doc("fcm", "v1"))
    reduced = {"revision": document["revision"]}
    waiting = ["SendMessageRequest"]
    while waiting:
        name = waiting.pop()
        if name not in reduced:
            properties = document["schemas"][name].get("properties", {})
            reduced[name] = {key: without_prose(value) for key, value in properties.items()}
            waiting += re.findall(r'"\$ref": "(\w+)"', json.dumps(properties))
    return reduced


def without_prose(value):
    if not isinstance(value, dict):
        return value
    return {key: without_prose(part) for key, part in value.items() if key in KEPT}


def main(account, url, schema, registration, form):
    credentials = service_account.Credentials.from_service_account_file(account, scopes=[SCOPE])
    options = {"api_endpoint": url}
    fcm = discovery.build("fcm", "v1", credentials=credentials, client_options=options)
    parent = f"projects/{credentials.project_id}"

    def send(message, body=None):
        request = fcm.projects().messages().send(parent=parent, body=body or {"message": message})
        try:
            return request.execute()
        except errors.HttpError as error:
            details = error.error_details
            code = next((d["errorCode"] for d in details if "errorCode" in d), "") if isinstance(details, list) else ""
            return [error.status_code, code, error.reason]

    to = {form: registration}
    text = {"title": "Battery low", "body": "14 %"}
    android = {
        "priority": "HIGH",
        "ttl": "3600s",
        "collapseKey": "alarm-7",
        "notification": {"tag": "alarm-7", "channelId": "alarms", "notificationPriority": "PRIORITY_HIGH"},
    }
    apple = {"headers": {"apns-collapse-id": "alarm-7"}, "payload": {"aps": {"badge": 1}}}
    with open(schema, encoding="utf-8") as file:
        ours = json.load(file)
    print(json.dumps({
        "same_schema": ours == published(),
        "accepted": send(to | {"notification": text, "data": {"id": "push-1"}, "android": android, "apns": apple}),
        "nobody": send({"notification": text}),
        "two": send(to | {"topic": "all", "notification": text}),
        "unknown": send({"token": f"{uuid.uuid4().hex[:22]}:APA91b{'x' * 134}", "notification": text}),
        "nonsense": send({"token": "nonsense", "notification": text}),
        "reserved": send(to | {"data": {"google.x": "1"}}),
        "large": send(to | {"data": {"x": "x" * 4096}}),
        "odd_field": send(None, {"message": to | {"titel": "x"}}),
        "odd_value": send(to | {"android": {"ttl": "soon"}}),
    }))


main(*sys.argv[1:])
