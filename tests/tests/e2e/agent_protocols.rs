//! Agents that speak something else than Twilio's protocol: each is a client written from that protocol's documentation.
//!
//! Every caller sends a tone, hears the bot's, interrupts it with key 1 and is hung up on at key 2. The calls run side by side.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use voxlane_tests::audio::purity;
use voxlane_tests::config::{NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::{Agent, Protocol};
use voxlane_tests::phone::Phone;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(40);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// Zeros pass the time in which the bot has said its first words and more than may wait.
const KEYS: &str = "00000000000012";

/// A protocol, as it is configured, and the number that its bot answers.
const PROTOCOLS: [(Protocol, &str, &str); 4] = [
    (Protocol::Telnyx, "protocol = \"telnyx\"", "+15550101"),
    (
        Protocol::Jambonz,
        "protocol = \"jambonz\"\nsample_rate = 16000",
        "+15550102",
    ),
    (
        Protocol::Asterisk,
        "protocol = \"asterisk-websocket\"\nformat = \"slin16\"",
        "+15550103",
    ),
    (
        Protocol::Pcm16,
        "protocol = \"pcm16\"\nsample_rate = 24000",
        "+15550104",
    ),
];

#[test]
fn each_protocol_is_spoken_with_a_client_of_its_documentation() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut config = lab(Xdp::Auto, NO_BOT);
    let mut agents = Vec::new();
    for (protocol, keys, number) in PROTOCOLS {
        let agent = Agent::speaking(&net.gateway, protocol).unwrap();
        config += &format!(
            "[[agent]]\nname = \"{protocol:?}\"\nurl = \"{}\"\n{keys}\nparameters = {{ language = \"en\" }}\n\
             [[did]]\nnumber = \"{number}\"\nagent = \"{protocol:?}\"\n",
            agent.url()
        );
        agents.push(agent);
    }
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let options = [
        "--tone",
        "440",
        "--dtmf",
        KEYS,
        "--duration",
        "30s",
        "--from",
        "+15550123",
    ];
    let call = |number| Phone::call(&binary, &net.carrier, &format!("sip:{number}@{GATEWAY}"), &options).unwrap();
    let phones: Vec<Phone> = PROTOCOLS.iter().map(|(_, _, number)| call(*number)).collect();
    for ((protocol, _, number), phone) in PROTOCOLS.into_iter().zip(phones) {
        let report = phone.report(PATIENCE).unwrap();
        assert_eq!(
            (report.result.as_str(), report.ended_by.as_deref()),
            ("completed", Some("them")),
            "{protocol:?}: {report:?}"
        );
        let pitch = report.heard.and_then(|heard| heard.frequency_hz);
        assert!(
            pitch.is_some_and(|hertz| (hertz - 600.0).abs() < 10.0),
            "{protocol:?}: {pitch:?}"
        );
        assert_eq!(
            gateway.calls().unwrap().to(number).unwrap().digits,
            KEYS,
            "{protocol:?}"
        );
    }
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!((status.calls.answered, status.calls.failed), (4, 0));
    for ((protocol, ..), agent) in PROTOCOLS.into_iter().zip(&mut agents) {
        agent
            .wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())
            .unwrap();
        let sound = purity(&agent.heard(), 440);
        // Keys break the tone off, but at another rate nothing of it would be left.
        assert!(sound.seconds > 1.0 && sound.share > 0.5, "{protocol:?}: {sound:?}");
        check(protocol, &agent.events());
    }
}

/// What a bot has understood.
fn check(protocol: Protocol, events: &[Value]) {
    let of = |kind: &str| -> Vec<&str> { events.iter().filter_map(|event| event[kind].as_str()).collect() };
    assert_eq!(of("key").concat(), KEYS, "{protocol:?}");
    let first = |kind: &str| events.iter().find_map(|event| event.get(kind)).unwrap_or(&Value::Null);
    let (start, asked) = (first("start"), first("asked"));
    let subprotocol = asked["Sec-Websocket-Protocol"]
        .as_str()
        .or(asked["sec-websocket-protocol"].as_str());
    let (marks, notes) = (of("mark"), of("note"));
    match protocol {
        Protocol::Telnyx => {
            assert_eq!(
                (start["start"]["from"].as_str(), start["start"]["to"].as_str()),
                (Some("+15550123"), Some("+15550101"))
            );
            assert_eq!(start["start"]["custom_parameters"]["language"], "en");
            assert_eq!((marks, notes), (vec!["spoken", "interrupted"], vec!["connected"]));
        }
        Protocol::Jambonz => {
            assert!(subprotocol.is_some_and(|offered| offered.starts_with("audio.jambonz.org")));
            assert_eq!(
                (start["from"].as_str(), start["language"].as_str()),
                (Some("+15550123"), Some("en"))
            );
            assert_eq!(
                (marks, notes),
                (vec!["spoken", "interrupted"], vec!["playout", "cleared"])
            );
        }
        Protocol::Asterisk => {
            assert_eq!(start["optimal_frame_size"], "640");
            assert_eq!(subprotocol, Some("media"));
            // Of what is flushed nothing is told.
            assert_eq!(marks, ["spoken"]);
            let flow: Vec<&str> = notes
                .into_iter()
                .filter(|note| *note != "MEDIA_BUFFERING_COMPLETED")
                .collect();
            // A bot that is slow to send may be asked to pause again.
            let [pauses @ .., "QUEUE_DRAINED"] = flow.as_slice() else {
                panic!("{flow:?}");
            };
            assert!(!pauses.is_empty(), "{flow:?}");
            let alternate = pauses.chunks(2).all(|pair| pair == ["MEDIA_XOFF", "MEDIA_XON"]);
            assert!(alternate, "{flow:?}");
        }
        Protocol::Pcm16 => {
            assert_eq!(
                (start["from"].as_str(), start["sample_rate"].as_u64()),
                (Some("+15550123"), Some(24_000))
            );
            assert_eq!(start["parameters"]["language"], "en");
            assert_eq!(
                (marks, notes),
                (vec!["spoken", "interrupted"], vec!["played", "cleared", "stop"])
            );
        }
    }
}
