"""Hands the caller of a bot over to a number through the REST API, with Twilio's own SDK, as bots on Media Streams do: the call is given a
document that dials. Prints what came of each step.
"""

import argparse

from twilio.rest import Client
from twilio.twiml.voice_response import Dial, VoiceResponse

from rest_client import Elsewhere, refused, show


def main():
    parser = argparse.ArgumentParser()
    for name in ["base", "account", "token", "to"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--status", default="in-progress", help="of the call that is handed over, or cannot be")
    arguments = parser.parse_args()
    client = Client(arguments.account, arguments.token, http_client=Elsewhere(arguments.base))
    response = VoiceResponse()
    dial = Dial(timeout=10)
    dial.number(arguments.to)
    response.append(dial)
    [call] = client.calls.list(status=arguments.status)
    if arguments.status != "in-progress":
        return refused("too early", lambda: client.calls(call.sid).update(twiml=str(response)))
    updated = client.calls(call.sid).update(twiml=str(response))
    show("handed over", sid=updated.sid, state=updated.status)


if __name__ == "__main__":
    main()
