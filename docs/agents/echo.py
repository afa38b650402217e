import json
from websockets.sync.server import serve

def echo(call):
    for text in call:
        message = json.loads(text)
        if message["event"] == "media":
            media = {"payload": message["media"]["payload"]}
            call.send(json.dumps({"event": "media", "streamSid": message["streamSid"], "media": media}))

serve(echo, "0.0.0.0", 8080).serve_forever()
