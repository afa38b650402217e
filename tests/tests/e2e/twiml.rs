//! Calls that a web application says by TwiML what becomes of: the application is written with the official SDK, which also
//! checks the signature of every request.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use voxlane_tests::audio::{purity, tone};
use voxlane_tests::certificates::Authority;
use voxlane_tests::config::{NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::application::{Application, TOKEN};
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::phone::Phone;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

const GREETED: &str = "+15550010";
const BROKEN: &str = "+15550011";
const SLOW: &str = "+15550012";
const LOST: &str = "+15550013";
const DIALS: &str = "+15550014";
const LISTENED: &str = "+15550015";

/// The lab, and a number for each of the application's documents.
fn config(application: &Application) -> String {
    let number = |number: &str, path: &str, more: &str| {
        let url = application.url(path);
        format!("\n[[did]]\nnumber = \"{number}\"\ntenant = \"demo\"\nvoice_url = \"{url}\"\n{more}\n")
    };
    let status = format!(
        "status_callback = \"{}\"\nstatus_callback_event = [\"initiated\", \"ringing\", \"answered\", \"completed\"]",
        application.url("/status")
    );
    let fallback = format!("voice_fallback_url = \"{}\"", application.url("/fallback"));
    let account = format!("auth_token = \"{TOKEN}\"");
    let config = below(&lab(Xdp::Auto, NO_BOT), "name = \"demo\"", &account);
    let config = below(&config, "name = \"far\"", "caller_ids = [\"+15550100\"]");
    [
        config,
        number(GREETED, "/greet", &status),
        number(BROKEN, "/broken", &fallback),
        number(SLOW, "/slow", ""),
        number(LOST, "/nowhere", ""),
        number(DIALS, "/dial", "dial_trunks = [\"far\"]"),
        number(LISTENED, "/listened", "dial_trunks = [\"far\"]"),
    ]
    .concat()
}

#[test]
fn a_caller_is_greeted_and_connected_and_the_owner_is_told() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let agent = Agent::tone(&net.gateway, 600, 2).unwrap();
    let mut application = Application::start(&net.gateway, &agent.url()).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();
    let uri = format!("sip:{GREETED}@{GATEWAY_TO_CARRIER}");
    let call = Baresip::call(&net.carrier, CARRIER, &uri, &tone(1000, 20_000), Duration::from_secs(9)).unwrap();
    // The bot leaves when its tone is played, and the application hangs up.
    application.wait_for("/bye", 1, PATIENCE).unwrap();
    let outcome = call.finish(PATIENCE).unwrap();
    for hertz in [440, 600] {
        let sound = purity(&outcome.heard, hertz);
        assert!(
            sound.seconds * sound.share > 1.5,
            "{hertz} Hz: {sound:?}\n{}",
            outcome.log
        );
    }
    gateway.wait_until_idle(PATIENCE).unwrap();

    let told = application.wait_for("/status", 4, PATIENCE).unwrap();
    let of = |key: &str| -> Vec<String> {
        let values = told
            .iter()
            .map(|asked| asked.parameters[key].as_str().unwrap_or("none").to_owned());
        values.collect()
    };
    assert_eq!(of("CallStatus"), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(of("SequenceNumber"), ["0", "1", "2", "3"]);
    let duration: u32 = of("CallDuration")[3].parse().unwrap();
    assert!((4..20).contains(&duration), "{duration}");

    let asked = application.asked();
    assert!(asked.iter().all(|asked| asked.signed), "{asked:?}");
    let first = &asked.iter().find(|asked| asked.path == "/greet").unwrap().parameters;
    for (key, value) in [
        ("To", GREETED),
        ("From", "+15550123"),
        ("Direction", "inbound"),
        ("CallStatus", "ringing"),
        ("ApiVersion", "2010-04-01"),
    ] {
        assert_eq!(first[key], value, "{first}");
    }
    let streams = asked.iter().filter(|asked| asked.path == "/stream");
    let streams: Vec<&str> = streams
        .filter_map(|asked| asked.parameters["StreamEvent"].as_str())
        .collect();
    assert_eq!(streams, ["stream-started", "stream-stopped"]);

    let events = agent.events();
    let start = events.iter().find(|event| event["event"] == "start").unwrap();
    let start = &start["start"];
    assert_eq!(start["customParameters"]["language"], "Zoë & Co");
    assert_eq!(
        (&start["callSid"], &start["accountSid"]),
        (&first["CallSid"], &first["AccountSid"])
    );
}

/// Calls a number that is refused, and says how.
fn refused(net: &Lab, binary: &Path, number: &str) -> anyhow::Result<Option<u16>> {
    let phone = Phone::call(binary, &net.carrier, &format!("sip:{number}@{GATEWAY}"), &[])?;
    Ok(phone.report(PATIENCE)?.status)
}

#[test]
fn what_is_wrong_goes_to_the_fallback_and_no_call_is_left_in_silence() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    // Over TLS, as most are; the system trusts who vouches for it.
    let authority = Authority::new().unwrap();
    let certificate = authority.vouch("app", "IP:127.0.0.1").unwrap();
    let application = Application::over_tls(&net.gateway, &certificate).unwrap();
    let root = authority.root().display().to_string();
    let trusted = [("SSL_CERT_FILE", root.as_str())];
    let gateway = Gateway::start_within(&binary, &net.gateway, &config(&application), &trusted).unwrap();
    // <Say> is no verb here; the fallback refuses as busy.
    assert_eq!(refused(&net, &binary, BROKEN).unwrap(), Some(486));
    // A pause before the answer holds the call back, without answering it.
    let begun = Instant::now();
    assert_eq!(refused(&net, &binary, SLOW).unwrap(), Some(603));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    // There is no such document, and no fallback.
    assert_eq!(refused(&net, &binary, LOST).unwrap(), Some(480));
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!(status.calls.answered, 0);

    let asked = application.asked();
    let fallback = asked.iter().find(|asked| asked.path == "/fallback").unwrap();
    assert_eq!(fallback.parameters["ErrorCode"], "12200");
    assert_eq!(fallback.parameters["ErrorUrl"], application.url("/broken"));
    assert!(asked.iter().all(|asked| asked.signed), "{asked:?}");
    let calls = gateway.calls().unwrap();
    let problems = |number: &str| calls.to(number).unwrap().problems.join("\n");
    assert!(problems(BROKEN).contains("<Say>"), "{}", problems(BROKEN));
    assert!(problems(LOST).contains("404"), "{}", problems(LOST));
}

#[test]
fn a_caller_goes_on_when_whom_the_application_has_dialled_hangs_up() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut application = Application::start(&net.gateway, NO_BOT).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();
    let listen = SocketAddr::new(FAR, 5060);
    let options = ["--tone", "1000", "--duration", "3s"];
    let far = Phone::answer(&binary, &net.far, listen, &options).unwrap();
    let uri = format!("sip:{DIALS}@{GATEWAY_TO_CARRIER}");
    let call = Baresip::call(&net.carrier, CARRIER, &uri, &tone(700, 20_000), Duration::from_secs(9)).unwrap();
    let far = far.report(PATIENCE).unwrap();
    assert_eq!(far.from.as_deref(), Some("+15550100"), "{far:?}");
    assert_eq!(far.heard.unwrap().frequency_hz.map(f64::round), Some(700.0));
    let dialled = application.wait_for("/dialled", 1, PATIENCE).unwrap();
    let outcome = call.finish(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();

    let parameters = &dialled[0].parameters;
    assert_eq!(parameters["DialCallStatus"], "completed", "{parameters}");
    let duration: u32 = parameters["DialCallDuration"].as_str().unwrap().parse().unwrap();
    assert!((2..10).contains(&duration), "{duration}");
    // First the other party, then what the application plays.
    for hertz in [1000, 440] {
        let sound = purity(&outcome.heard, hertz);
        assert!(
            sound.seconds * sound.share > 1.0,
            "{hertz} Hz: {sound:?}\n{}",
            outcome.log
        );
    }
}

#[test]
fn a_placed_call_is_given_to_an_application_and_then_another_document() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut application = Application::start(&net.gateway, NO_BOT).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();
    let far = Phone::answer(&binary, &net.far, SocketAddr::new(FAR, 5060), &["--duration", "20s"]).unwrap();
    let (hold, bye) = (application.url("/hold"), application.url("/dialled"));
    let options = ["+15551234", "--trunk", "far", "--tenant", "demo", "--voice-url", &hold];
    let (results, answered) = std::thread::scope(|scope| {
        let placed = scope.spawn(|| gateway.dial(&options).unwrap());
        // The file that is played over and over is there.
        application.wait_for("/hello.wav", 1, PATIENCE).unwrap();
        let calls = gateway.calls().unwrap();
        gateway
            .update(&calls.to("+15551234").unwrap().id, &["--voice-url", &bye])
            .unwrap();
        placed.join().unwrap()
    });
    assert!(answered, "{results:?}");
    let far = far.report(PATIENCE).unwrap();
    assert_eq!(far.ended_by.as_deref(), Some("them"), "{far:?}");
    assert_eq!(far.heard.unwrap().frequency_hz.map(f64::round), Some(440.0));
    gateway.wait_until_idle(PATIENCE).unwrap();
    let asked = application.asked();
    let first = asked.iter().find(|asked| asked.path == "/hold").unwrap();
    assert_eq!(first.parameters["Direction"], "outbound-api", "{first:?}");
    assert!(asked.iter().all(|asked| asked.signed), "{asked:?}");
}

/// Messages of one listener: numbered one after the other, the media of each track in chunks of 20 ms without a gap.
fn assert_whole(listener: &Agent) {
    let events = listener.events();
    let mut next = [1, 1];
    for event in &events {
        let Some(track) = event["track"].as_str() else { continue };
        let chunk = &mut next[usize::from(track == "outbound")];
        assert_eq!(event["chunk"], *chunk, "{event}");
        assert_eq!(event["timestamp"], (*chunk - 1) * 20, "{event}");
        *chunk += 1;
    }
    let number = |event: &serde_json::Value| {
        let named = event["sequenceNumber"]
            .as_str()
            .and_then(|number| number.parse::<u64>().ok());
        event["sequence"].as_u64().or(named)
    };
    let numbers: Vec<u64> = events.iter().filter_map(number).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}

#[test]
fn two_listen_to_a_call_while_the_application_dials_and_one_is_stopped() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let [mut both, mut of_caller] = [(); 2].map(|()| Agent::listener(&net.gateway).unwrap());
    let mut application = Application::listened(&net.gateway, [&both.url(), &of_caller.url()]).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();
    let far = Sipp::answerer_as(&net.far, Scenario::AnswersAndPlays, FAR).unwrap();
    far.sound(&tone(1000, 20_000)).unwrap();
    let far = far.listen().unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::PlaysUntilHungUpOn, CARRIER, GATEWAY, LISTENED).unwrap();
    caller.sound(&tone(700, 20_000)).unwrap();
    let caller = caller.options(&["-m", "1"]).start().unwrap();

    both.wait_for("what the far end says", PATIENCE, |event| {
        event["track"] == "outbound" && event["chunk"].as_u64() > Some(100)
    })
    .unwrap();
    // Nobody who listens is in the way of the kernel.
    let flows = gateway.flows().unwrap();
    assert!(
        flows.flows.len() == 2 && flows.flows.iter().all(|flow| flow.lane == "kernel"),
        "{flows:?}"
    );
    for listener in [&mut both, &mut of_caller] {
        listener
            .wait_for("the end", PATIENCE, |event| event["event"] == "stop")
            .unwrap();
        assert_whole(listener);
    }
    caller.succeed(PATIENCE).unwrap();
    drop(far);
    gateway.wait_until_idle(PATIENCE).unwrap();

    let start = |listener: &Agent| -> serde_json::Value {
        let events = listener.events();
        events.iter().find(|event| event["event"] == "start").unwrap()["start"].clone()
    };
    let (first, second) = (start(&both), start(&of_caller));
    assert_eq!(first["tracks"], serde_json::json!(["inbound", "outbound"]));
    assert_eq!(second["tracks"], serde_json::json!(["inbound"]));
    assert_eq!(first["customParameters"]["who"], "Zoë & Co");
    let said = |listener: &Agent, track: &str, hertz: u32| {
        let sound = purity(&listener.heard_of(track), hertz);
        sound.seconds * sound.share
    };
    assert!(said(&both, "inbound", 700) > 3.0);
    assert!(said(&both, "outbound", 1000) > 2.0);
    // It was stopped before the file was played; the other heard the caller to the end, and nobody else.
    assert!(said(&both, "outbound", 440) < 1.0);
    assert!(said(&of_caller, "inbound", 700) > said(&both, "inbound", 700) + 1.0);
    assert_eq!(of_caller.heard_of("outbound"), Vec::<i16>::new());

    let told = application.wait_for("/stream", 4, PATIENCE).unwrap();
    let mut told: Vec<(String, String)> = told
        .iter()
        .map(|asked| {
            let text = |key: &str| asked.parameters[key].as_str().unwrap().to_owned();
            (text("StreamEvent"), text("StreamName"))
        })
        .collect();
    // Who is there first is a matter of chance.
    told[..2].sort();
    let expected = [
        ("stream-started", "both"),
        ("stream-started", "caller"),
        ("stream-stopped", "both"),
        ("stream-stopped", "caller"),
    ];
    assert_eq!(told, expected.map(|(event, name)| (event.to_owned(), name.to_owned())));
    let problems = gateway.calls().unwrap().to(LISTENED).unwrap().problems.join("\n");
    assert!(problems.contains("never"), "{problems}");
}
