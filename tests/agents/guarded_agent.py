"""A Twilio Media Streams agent that lets nobody in but its gateway: over TLS, for a client certificate of its own authority,
with a handshake whose X-Twilio-Signature the official `twilio` package takes for good.

Prints one JSON object a line: {"listening": PORT}, then for every handshake {"signature": whether it is good, "certificate": the
client's common name}, then every message but media as it came. Plays nothing.
"""

import argparse
import http
import json
import ssl
import sys

from twilio.request_validator import RequestValidator
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve


def say(event):
    print(json.dumps(event), flush=True)


def common_name(certificate):
    names = dict(pair for relative in certificate["subject"] for pair in relative)
    return names["commonName"]


def guard(validator, connection, request):
    """Refuses a handshake that is not signed; the URL is the one that the client has asked for."""
    url = f"wss://{request.headers['Host']}{request.path}"
    good = validator.validate(url, {}, request.headers.get("X-Twilio-Signature", ""))
    say({"signature": good, "certificate": common_name(connection.socket.getpeercert())})
    return None if good else connection.respond(http.HTTPStatus.FORBIDDEN, "not signed by your account\n")


def listen(socket):
    try:
        for text in socket:
            message = json.loads(text)
            if message["event"] != "media":
                say(message)
    except ConnectionClosed:
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--listen", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--token", required=True, help="auth token of the account")
    arguments.add_argument("--certificate", required=True, help="PEM file with certificate and key")
    arguments.add_argument("--client-ca", required=True, help="PEM file: who vouches for clients")
    arguments = arguments.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate)
    context.load_verify_locations(arguments.client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    validator = RequestValidator(arguments.token)
    with serve(
        listen,
        arguments.listen,
        arguments.port,
        ssl=context,
        process_request=lambda connection, request: guard(validator, connection, request),
    ) as server:
        say({"listening": server.socket.getsockname()[1]})
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
