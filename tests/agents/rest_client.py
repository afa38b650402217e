"""Places, reads, changes and ends a call through the REST API, with Twilio's own SDK; prints what came of each step.

The SDK is as it is; only the host that its requests go to is another.
"""

import argparse
import json
import time

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client


class Elsewhere(TwilioHttpClient):
    """Sends requests to another host than Twilio's."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def request(self, method, url, *rest, **named):
        return super().request(method, url.replace("https://api.twilio.com", self.base), *rest, **named)


def show(step, **found):
    print(json.dumps({"step": step, **found}, default=str), flush=True)


def refused(step, attempt):
    """An attempt that must fail: with which status and code."""
    try:
        attempt()
    except TwilioRestException as error:
        show(step, status=error.status, code=error.code, message=error.msg)
    else:
        show(step, status=None)


def until(client, sid, wanted):
    """Reads a call until it has come so far."""
    deadline = time.monotonic() + 20
    while True:
        call = client.calls(sid).fetch()
        if call.status == wanted or time.monotonic() > deadline:
            return call
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser()
    for name in ["base", "account", "token", "to", "from", "stranger", "callback"]:
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    own = getattr(arguments, "from")
    client = Client(arguments.account, arguments.token, http_client=Elsewhere(arguments.base))

    # An inbound call of the account is there already: it is ended from here, as bots end theirs.
    inbound = client.calls.list(status="in-progress", limit=5)
    show("inbound", calls=[[call.sid, call.direction, call.to] for call in inbound])
    ended = client.calls(inbound[0].sid).update(status="completed")
    ended = until(client, ended.sid, "completed")
    show("hung up", state=ended.status, direction=ended.direction, ended=ended.end_time is not None)

    pause = "<Response><Pause length='60'/></Response>"
    call = client.calls.create(
        to=arguments.to,
        from_=own,
        twiml=pause,
        timeout=20,
        status_callback=arguments.callback,
        status_callback_event=["initiated", "answered", "completed"],
    )
    show("created", sid=call.sid, state=call.status, direction=call.direction, account=call.account_sid)
    call = until(client, call.sid, "in-progress")
    show("answered", state=call.status, to=call.to, is_from=call._from)
    listed = client.calls.list(to=arguments.to, status="in-progress")
    show("listed", calls=[one.sid for one in listed])
    paged = client.calls.page(page_size=1)
    follow = [one.sid for one in paged.next_page()]
    show("paged", first=[one.sid for one in paged], second=follow)
    call = client.calls(call.sid).update(twiml="<Response><Pause length='50'/></Response>")
    show("updated", state=call.status)
    client.calls(call.sid).update(status="completed")
    call = until(client, call.sid, "completed")
    show("completed", state=call.status, duration=int(call.duration))

    refused("update of the past", lambda: client.calls(call.sid).update(status="completed"))
    refused("unknown", lambda: client.calls("CA" + "0" * 32).fetch())
    refused("to", lambda: client.calls.create(to="12345", from_=own, twiml=pause))
    refused("from", lambda: client.calls.create(to=arguments.to, from_=arguments.stranger, twiml=pause))
    refused("unsupported", lambda: client.calls.create(to=arguments.to, from_=own, twiml=pause, record=True))
    stranger = Client(arguments.account, "wrong", http_client=Elsewhere(arguments.base))
    refused("token", lambda: stranger.calls(call.sid).fetch())


if __name__ == "__main__":
    main()
