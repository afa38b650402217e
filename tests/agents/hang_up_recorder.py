"""What a REST API of Twilio's form is asked: answers every POST with 200, and prints it as one JSON object a line: {"path": …,
"authorization": …, "body": …}; before that {"listening": PORT}.
"""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Recorder(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(json.dumps({"path": self.path, "authorization": self.headers["Authorization"], "body": body}), flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Recorder)
    print(json.dumps({"listening": server.server_port}), flush=True)
    server.serve_forever()
