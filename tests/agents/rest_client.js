// Places, reads, changes and ends a call through the REST API, with Twilio's own SDK for Node; prints what came of each step.
// The SDK is as it is; only the host that its requests go to is another.

const twilio = require("twilio");

const [base, account, token, to, from] = process.argv.slice(2);

class Elsewhere extends twilio.RequestClient {
  request(options) {
    return super.request({ ...options, uri: options.uri.replace("https://api.twilio.com", base) });
  }
}

const show = (step, found) => console.log(JSON.stringify({ step, ...found }));

async function until(client, sid, wanted) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const call = await client.calls(sid).fetch();
    if (call.status === wanted || Date.now() > deadline) return call;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function refused(step, attempt) {
  try {
    await attempt();
    show(step, { status: null });
  } catch (error) {
    show(step, { status: error.status, code: error.code });
  }
}

async function main() {
  const client = new twilio.Twilio(account, token, { httpClient: new Elsewhere() });
  const twiml = "<Response><Pause length='60'/></Response>";
  let call = await client.calls.create({ to, from, twiml, timeout: 20 });
  show("created", { sid: call.sid, direction: call.direction });
  call = await until(client, call.sid, "in-progress");
  show("answered", { state: call.status, to: call.to, from: call.from, started: call.startTime instanceof Date });
  const listed = await client.calls.list({ to, status: "in-progress", limit: 5 });
  show("listed", { calls: listed.map((one) => one.sid) });
  call = await client.calls(call.sid).update({ twiml: "<Response><Pause length='50'/></Response>" });
  show("updated", { state: call.status });
  await client.calls(call.sid).update({ status: "completed" });
  call = await until(client, call.sid, "completed");
  show("completed", { state: call.status });
  await refused("unknown", () => client.calls("CA" + "0".repeat(32)).fetch());
  const stranger = new twilio.Twilio(account, "wrong", { httpClient: new Elsewhere() });
  await refused("token", () => stranger.calls.list({ limit: 1 }));
}

main();
