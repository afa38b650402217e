const { WebSocketServer } = require("ws");

new WebSocketServer({ port: 8080 }).on("connection", (call) => {
  call.on("message", (text) => {
    const { event, streamSid, media } = JSON.parse(text);
    if (event === "media") {
      call.send(JSON.stringify({ event, streamSid, media: { payload: media.payload } }));
    }
  });
});
