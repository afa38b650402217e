"""A web application for calls, on the official `twilio` package: VoiceResponse writes its documents, RequestValidator checks
the signature of every request.

Prints one JSON object a line: {"listening": PORT}, then {"path": …, "signed": …, "parameters": {…}} for each request.
"""

import argparse
import io
import json
import math
import ssl
import struct
import sys
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, Dial, Refer, Start, Stop, VoiceResponse


# Requests are handled side by side; a line is one of theirs.
SAYING = threading.Lock()


def say(event):
    with SAYING:
        print(json.dumps(event), flush=True)


def tone(hertz, seconds, rate=16000):
    """A WAV file."""
    samples = (int(8000 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(int(rate * seconds)))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


HELLO = tone(440, 2)


def document(path, arguments, form):
    """The document of a path; None: there is none."""
    response = VoiceResponse()
    if path == "/greet":
        response.play("/hello.wav")
        response.pause(length=1)
        connect = Connect(action="/connected")
        stream = connect.stream(url=arguments.bot, name="bot", status_callback="/stream")
        stream.parameter(name="language", value="Zoë & Co")
        stream.parameter(name="then", value="leave")
        response.append(connect)
    elif path == "/connected":
        response.redirect("/bye?from=connected", method="GET")
    elif path == "/bye":
        response.hangup()
    elif path == "/broken":
        response.say("Nobody speaks here")
    elif path in ("/fallback", "/busy"):
        response.reject(reason="busy")
    elif path == "/slow":
        response.pause(length=2)
        response.reject()
    elif path == "/dial":
        dial = Dial(action="/dialled", caller_id="+15550100", timeout=10)
        dial.number("+15551234")
        response.append(dial)
    elif path == "/bot":
        connect = Connect(action="/left")
        connect.stream(url=arguments.bot)
        response.append(connect)
    elif path == "/bridge":
        response.dial("+15551234", answer_on_bridge=True, timeout=10, action="/bridged")
    elif path == "/bridged":
        if form["DialCallStatus"] == "busy":
            response.reject(reason="busy")
        else:
            response.hangup()
    elif path == "/star":
        response.dial("+15551234", answer_on_bridge=True, hangup_on_star=True, action="/left")
    elif path == "/limit":
        response.dial("+15551234", time_limit=2, action="/left")
    elif path in ("/sales", "/elsewhere"):
        dial = Dial(action="/left")
        dial.sip("sip:sales@10.200.2.2" if path == "/sales" else "sip:sales@elsewhere.example")
        response.append(dial)
    elif path in ("/left", "/referred"):
        response.hangup()
    elif path == "/dialled":
        response.play("/hello.wav")
    elif path == "/listened":
        start = Start()
        stream = start.stream(url=arguments.bot, name="both", track="both_tracks", status_callback="/stream")
        stream.parameter(name="who", value="Zoë & Co")
        response.append(start)
        start = Start()
        start.stream(url=arguments.second, name="caller", status_callback="/stream")
        response.append(start)
        dial = Dial(time_limit=4)
        dial.number("+15551234")
        response.append(dial)
        for name in ("never", "both"):
            stop = Stop()
            stop.stream(name=name)
            response.append(stop)
        response.play("/hello.wav")
    elif path == "/refer":
        refer = Refer(action="/referred")
        refer.sip("sip:+15550200@carrier.example")
        response.append(refer)
    elif path == "/hold":
        response.play("/hello.wav", loop=0)
    else:
        return None
    return str(response)


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.handle_request({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.handle_request(dict(parse_qsl(body, keep_blank_values=True)))

    def handle_request(self, form):
        arguments = self.server.arguments
        scheme = "https" if arguments.certificate else "http"
        url = f"{scheme}://{self.headers['Host']}{self.path}"
        signed = RequestValidator(arguments.token).validate(url, form, self.headers.get("X-Twilio-Signature", ""))
        parts = urlsplit(self.path)
        say({
            "path": parts.path,
            "method": self.command,
            "signed": signed,
            "again": "If-None-Match" in self.headers,
            "parameters": {**dict(parse_qsl(parts.query)), **form},
        })
        if parts.path == "/hello.wav":
            if self.headers.get("If-None-Match") == '"hello"':
                return self.answer(304, None, b"")
            return self.answer(200, "audio/wav", HELLO)
        if parts.path == "/away":
            # To the same server, by a name that is another host's as far as anybody knows.
            port = self.server.server_address[1]
            return self.answer(307, None, b"", location=f"http://localhost:{port}/hold")
        if parts.path in ("/status", "/stream"):
            return self.answer(204, None, b"")
        text = document(parts.path, arguments, form)
        if text is None:
            return self.answer(404, "text/plain", b"there is no such document")
        return self.answer(200, "text/xml", text.encode())

    def answer(self, status, kind, body, location=None):
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        if kind:
            self.send_header("Content-Type", kind)
            self.send_header("ETag", '"hello"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--token", required=True, help="auth token of the account")
    arguments.add_argument("--bot", default="ws://127.0.0.1:9/media", help="URL of the agent that /greet connects, and of who listens to /listened")
    arguments.add_argument("--second", default="ws://127.0.0.1:9/media", help="URL of who listens to /listened beside --bot")
    arguments.add_argument("--certificate", help="file with a certificate and its key: everything goes over TLS")
    arguments = arguments.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    server.arguments = arguments
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    say({"listening": server.server_address[1]})
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
