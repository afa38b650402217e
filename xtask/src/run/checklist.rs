//! The pre-production checklist (interoperability rows C1 to C8) and the lane of each leg, judged from what was measured.

use serde::Serialize;
use voxlane_tests::phone::{Heard, Report};
use voxlane_tests::reports::{Flow, Plane};

use super::calls::{After, CALLER_ID, CALLER_TONE, DIGITS, Evidence, FAR_TONE, Placed};
use super::secured::{Secured, TONE};
use super::transferred::Transferred;

/// A tone counts as heard when its frequency is this near, Hz ...
const NEAR: f64 = 10.0;
/// ... and it is this loud, dBm0.
const AUDIBLE: f64 = -40.0;
/// Jitter that interoperability requirement I9 allows, milliseconds.
const JITTER: f64 = 30.0;
/// Loss that I9 allows: one packet in so many.
const LOSS: i64 = 100;

/// How a row came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Measured, and so.
    Holds,
    /// Measured or tried, and not so.
    Fails,
    /// The checklist does not try this yet, or voxlane does not have it; neither good nor bad.
    NotTried,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its number in the checklist; several rows may share one.
    pub number: &'static str,
    /// What must hold.
    pub title: &'static str,
    /// Whether it does.
    pub outcome: Outcome,
    /// What was measured.
    pub evidence: String,
}

/// Every row, in order.
pub struct Checklist {
    /// The rows.
    pub rows: Vec<Row>,
}

impl Checklist {
    /// Whether every row that is offered holds.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.outcome != Outcome::Fails)
    }
}

impl From<&Evidence> for Checklist {
    fn from(evidence: &Evidence) -> Self {
        let agent = |judge: fn(&Placed) -> Judgement| judge_call(&evidence.agent, judge);
        let relay = |judge: fn(&Placed) -> Judgement| judge_call(&evidence.relay, judge);
        let mut rows = vec![
            row("C1", "inbound call connects", agent(connects)),
            row("C2", "outbound call, right caller ID", relay(caller_id)),
            row("C3", "audio both ways, agent call", agent(echoed)),
            row("C3", "audio both ways, relayed call", relay(both_ways)),
            row("C4", "DTMF heard by the gateway", agent(digits_at_gateway)),
            row("C4", "DTMF relayed to the far end", relay(digits_at_far_end)),
            row("C5", "BYE ends both legs", ended(evidence)),
            row("C6", "codec negotiated", codec(evidence)),
        ];
        rows.extend(lanes(evidence));
        rows.push(row("C7", "call transfer", transferred(&evidence.transfer)));
        rows.push(match &evidence.secured {
            Some(call) => row("C8", "TLS and SRTP", secured(call)),
            None => not_tried("C8", "TLS and SRTP", "needs root, baresip and openssl"),
        });
        Self { rows }
    }
}

/// Whether a row holds, and what was measured.
type Judgement = (bool, String);

fn row(number: &'static str, title: &'static str, (holds, evidence): Judgement) -> Row {
    let outcome = if holds { Outcome::Holds } else { Outcome::Fails };
    Row {
        number,
        title,
        outcome,
        evidence,
    }
}

fn not_tried(number: &'static str, title: &'static str, why: &str) -> Row {
    Row {
        number,
        title,
        outcome: Outcome::NotTried,
        evidence: why.to_owned(),
    }
}

fn judge_call(call: &Result<Placed, String>, judge: fn(&Placed) -> Judgement) -> Judgement {
    match call {
        Ok(placed) => judge(placed),
        Err(error) => (false, error.lines().next().unwrap_or_default().to_owned()),
    }
}

fn connects(call: &Placed) -> Judgement {
    let Report {
        sent_packets, received, ..
    } = &call.caller;
    let sent = sent_packets.unwrap_or(0);
    let heard = received.as_ref().map_or(0, |stream| stream.packets);
    let evidence = format!("{}; {sent} packets sent, {heard} came back", answer(&call.caller));
    (is_completed(&call.caller) && sent > 0 && heard > 0, evidence)
}

fn caller_id(call: &Placed) -> Judgement {
    let shown = call
        .far
        .as_ref()
        .and_then(|far| far.from.as_deref())
        .unwrap_or("nothing");
    let evidence = format!("{}; far end saw {shown}", answer(&call.caller));
    (is_completed(&call.caller) && shown == CALLER_ID, evidence)
}

fn echoed(call: &Placed) -> Judgement {
    let (holds, heard) = hears(Some(&call.caller), CALLER_TONE);
    let delay = call.caller.heard.as_ref().and_then(|heard| heard.round_trip_ms);
    let delay = delay.map_or("delay not found".to_owned(), |delay| {
        format!("{delay:.0} ms after it was sent")
    });
    (holds, format!("sent {CALLER_TONE} Hz, {heard}, {delay}"))
}

fn both_ways(call: &Placed) -> Judgement {
    let (there, far) = hears(call.far.as_ref(), CALLER_TONE);
    let (back, near) = hears(Some(&call.caller), FAR_TONE);
    (there && back, format!("far end {far}; caller {near}"))
}

fn digits_at_gateway(call: &Placed) -> Judgement {
    pressed(call.record.as_ref().map(|record| record.digits.as_str()))
}

fn digits_at_far_end(call: &Placed) -> Judgement {
    pressed(call.far.as_ref().map(|far| far.digits.as_str()))
}

fn pressed(detected: Option<&str>) -> Judgement {
    let detected = detected.unwrap_or_default();
    (
        detected == DIGITS,
        format!(
            "pressed {DIGITS}, detected {}",
            if detected.is_empty() { "nothing" } else { detected }
        ),
    )
}

fn ended(evidence: &Evidence) -> Judgement {
    let bye = |report: Option<&Report>| report.and_then(|report| report.bye.clone()).unwrap_or("none".into());
    let agent = bye(evidence.agent.as_ref().ok().map(|call| &call.caller));
    let relay = evidence.relay.as_ref().ok();
    let (near, far) = (
        bye(relay.map(|call| &call.caller)),
        bye(relay.and_then(|call| call.far.as_ref())),
    );
    let (clean, left) = match &evidence.after {
        Ok(After { active_calls, plane }) => {
            let left = format!("{active_calls} calls and {} ports left", plane.ports_in_use);
            (*active_calls == 0 && plane.ports_in_use == 0, left)
        }
        Err(error) => (false, error.lines().next().unwrap_or_default().to_owned()),
    };
    let holds = clean && [&agent, &near].iter().all(|bye| *bye == "answered") && far == "received";
    (
        holds,
        format!("agent call: BYE {agent}; relayed: BYE {near}, far end {far}; {left}"),
    )
}

fn transferred(call: &Result<Transferred, String>) -> Judgement {
    let Transferred {
        transfer,
        caller,
        far,
        flows,
    } = match call {
        Ok(call) => call,
        Err(error) => return (false, error.lines().next().unwrap_or_default().to_owned()),
    };
    // The caller has heard itself before, from the agent, but for less time.
    let (there, far_end) = hears(Some(far), CALLER_TONE);
    let (back, near) = hears(Some(caller), FAR_TONE);
    let why = transfer.reason.as_ref().map(|reason| format!(" ({reason})"));
    let lanes: Vec<&str> = flows.iter().map(|flow| flow.lane.as_str()).collect();
    let evidence = format!(
        "{} to {}{}; far end {far_end}; caller {near}; lanes {}",
        transfer.state,
        transfer.to,
        why.unwrap_or_default(),
        lanes.join(", ")
    );
    let holds = transfer.state == "completed" && is_completed(caller) && there && back && flows.len() == 2;
    (holds, evidence)
}

fn secured(call: &Result<Secured, String>) -> Judgement {
    let call = match call {
        Ok(call) => call,
        Err(error) => return (false, error.lines().next().unwrap_or_default().to_owned()),
    };
    let Secured {
        tls: [new, old],
        suite,
        packets,
        heard,
    } = call;
    let versions = new.starts_with("TLSv1.3") && old.starts_with("TLSv1.2");
    let hears = heard.share > 0.9 && heard.seconds > 1.0;
    let suite = suite.as_deref().unwrap_or("none");
    (
        versions && hears && suite != "none" && *packets > 0,
        format!(
            "{new}, {old}; SRTP {suite}, {packets} packets; sent {TONE} Hz, heard {:.1} s of it",
            heard.seconds
        ),
    )
}

fn codec(evidence: &Evidence) -> Judgement {
    let name = |report: Option<&Report>| report.and_then(|report| report.codec.clone());
    let relay = evidence.relay.as_ref().ok();
    let legs = [
        (
            "agent call",
            name(evidence.agent.as_ref().ok().map(|call| &call.caller)),
        ),
        ("relayed", name(relay.map(|call| &call.caller))),
        ("far end", name(relay.and_then(|call| call.far.as_ref()))),
    ];
    let holds = legs.iter().all(|(_, codec)| codec.is_some()) && legs[1].1 == legs[2].1;
    let words = legs.map(|(leg, codec)| format!("{leg} {}", codec.as_deref().unwrap_or("none")));
    (holds, words.join(", "))
}

/// One row a flow: which lane carried it, and how well.
fn lanes(evidence: &Evidence) -> Vec<Row> {
    let plane = evidence.after.as_ref().ok().map(|after| &after.plane);
    let calls = [("agent call", &evidence.agent, 1), ("relayed", &evidence.relay, 2)];
    calls
        .into_iter()
        .flat_map(|(name, call, legs)| {
            let title = if legs == 1 {
                "lane of the agent call"
            } else {
                "lanes of the relayed call"
            };
            match call {
                Ok(call) if call.flows.len() == legs => call
                    .flows
                    .iter()
                    .map(|flow| row("", title, lane(flow, plane)))
                    .collect(),
                Ok(call) => vec![row(
                    "",
                    title,
                    (false, format!("{name}: {} flows seen", call.flows.len())),
                )],
                Err(_) => vec![row("", title, judge_call(call, connects))],
            }
        })
        .collect()
}

fn lane(flow: &Flow, plane: Option<&Plane>) -> Judgement {
    let stream = &flow.received;
    let sound = stream.packets > 0 && stream.lost * LOSS <= stream.packets.cast_signed() && stream.jitter_ms < JITTER;
    let placed = match (flow.lane.as_str(), flow.reason.as_deref()) {
        ("kernel", _) => flow.userspace_packets == 0,
        (_, Some("agent")) => true,
        // The worker lane relays only where the whole data plane has said why it has no kernel lane.
        (_, Some(_)) => plane.is_some_and(|plane| plane.unavailable.is_some()),
        (_, None) => false,
    };
    let leg = flow.leg.as_deref().map_or(String::new(), |leg| format!("leg {leg}: "));
    let reason = flow
        .reason
        .as_deref()
        .map_or(String::new(), |reason| format!(" ({})", reason.replace('_', " ")));
    let measured = format!(
        "{} packets, {} lost, jitter {:.2} ms",
        stream.packets, stream.lost, stream.jitter_ms
    );
    let sockets = match flow.lane.as_str() {
        "kernel" => format!(", {} seen by userspace", flow.userspace_packets),
        _ => String::new(),
    };
    (
        sound && placed,
        format!("{leg}{} lane{reason}, {measured}{sockets}", flow.lane),
    )
}

fn hears(report: Option<&Report>, tone: u16) -> Judgement {
    match report.and_then(|report| report.heard.as_ref()) {
        Some(Heard {
            frequency_hz: Some(frequency),
            level_dbm0: Some(level),
            ..
        }) => {
            let holds = (frequency - f64::from(tone)).abs() <= NEAR && *level >= AUDIBLE;
            (holds, format!("heard {frequency:.0} Hz at {level:.0} dBm0"))
        }
        _ => (false, "heard nothing".into()),
    }
}

fn answer(report: &Report) -> String {
    let status = report
        .status
        .map_or("no answer".to_owned(), |status| status.to_string());
    let reason = report.reason.as_deref().unwrap_or_default();
    let setup = report
        .setup_ms
        .map_or(String::new(), |setup| format!(" after {setup:.0} ms"));
    format!("{status} {reason}{setup}")
}

fn is_completed(report: &Report) -> bool {
    report.result == "completed" && report.status == Some(200)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use voxlane_tests::audio::Sound;

    use super::*;

    fn placed(far: Option<Value>, flows: Value) -> Placed {
        let frequency = if far.is_some() { FAR_TONE } else { CALLER_TONE };
        let record = json!({
            "id": "1", "state": "ended", "from": "+15550123", "to": "+15550001", "legs": [], "digits": DIGITS,
            "ended": "2026-11-23T07:05:09.042Z", "cause": "BYE",
        });
        let parse = |value| serde_json::from_value(value).unwrap();
        Placed {
            caller: parse(phone(frequency, "answered")),
            far: far.map(|value| serde_json::from_value(value).unwrap()),
            record: Some(serde_json::from_value(record).unwrap()),
            flows: serde_json::from_value(flows).unwrap(),
        }
    }

    fn phone(frequency: u16, bye: &str) -> Value {
        json!({
            "result": "completed", "status": 200, "reason": "OK", "from": CALLER_ID, "codec": "PCMU", "setup_ms": 3.0,
            "ended_by": "us", "bye": bye, "sent_packets": 200, "received": stream(), "digits": DIGITS,
            "heard": { "frequency_hz": f64::from(frequency) + 0.4, "level_dbm0": -10.2, "round_trip_ms": 42.0 },
        })
    }

    fn stream() -> Value {
        json!({ "packets": 200, "lost": 0, "jitter_ms": 0.1 })
    }

    fn flow(leg: &str, lane: &str, reason: Option<&str>) -> Value {
        json!({
            "local": "10.200.1.1:10000", "forwarded_to": null, "lane": lane, "reason": reason, "received": stream(),
            "userspace_packets": 0, "call": "1", "leg": leg, "sent_packets": 200, "drops": [], "digits": 0, "rtt_ms": null,
            "quality": { "mos": 4.4 },
        })
    }

    fn evidence(relay: &[Value; 2], unavailable: Option<&str>) -> Evidence {
        let plane = json!({ "interfaces": [], "unavailable": unavailable, "ports_in_use": 0, "workers": [] });
        Evidence {
            agent: Ok(placed(None, json!([flow("a", "worker", Some("agent"))]))),
            relay: Ok(placed(Some(phone(CALLER_TONE, "received")), json!(relay))),
            after: Ok(After {
                active_calls: 0,
                plane: serde_json::from_value(plane).unwrap(),
            }),
            transfer: Ok(given_away("completed")),
            secured: None,
        }
    }

    fn given_away(state: &str) -> Transferred {
        let transfer = json!({
            "to": "+15558888", "by": "bridge", "asked_by": "operator", "state": state, "status": null, "reason": null,
        });
        let parse = |value| serde_json::from_value(value).unwrap();
        Transferred {
            transfer: serde_json::from_value(transfer).unwrap(),
            caller: parse(phone(FAR_TONE, "answered")),
            far: parse(phone(CALLER_TONE, "received")),
            flows: serde_json::from_value(json!([flow("a", "kernel", None), flow("b", "kernel", None)])).unwrap(),
        }
    }

    fn failing(checklist: &Checklist) -> Vec<&str> {
        let failing = checklist.rows.iter().filter(|row| row.outcome == Outcome::Fails);
        failing.map(|row| row.title).collect()
    }

    #[test]
    fn good_calls_hold() {
        let kernel = [flow("a", "kernel", None), flow("b", "kernel", None)];
        let checklist = Checklist::from(&evidence(&kernel, None));
        assert_eq!(failing(&checklist), [""; 0]);
        assert_eq!(checklist.rows.len(), 13);
    }

    #[test]
    fn the_worker_lane_relays_only_where_there_is_no_kernel_lane() {
        let worker = ["a", "b"].map(|leg| flow(leg, "worker", Some("xdp_unavailable")));
        assert!(Checklist::from(&evidence(&worker, Some("xdp_unavailable"))).holds());
        let checklist = Checklist::from(&evidence(&worker, None));
        assert_eq!(failing(&checklist), ["lanes of the relayed call"; 2]);
    }

    #[test]
    fn one_way_audio_and_a_wrong_caller_id_fail_their_rows() {
        let kernel = [flow("a", "kernel", None), flow("b", "kernel", None)];
        let mut evidence = evidence(&kernel, None);
        let far = evidence.relay.as_mut().unwrap().far.as_mut().unwrap();
        far.heard = None;
        far.from = Some("+15550123".into());
        let checklist = Checklist::from(&evidence);
        assert_eq!(
            failing(&checklist),
            ["outbound call, right caller ID", "audio both ways, relayed call"]
        );
    }

    #[test]
    fn a_call_that_is_not_given_to_the_other_party_fails_its_row() {
        let kernel = [flow("a", "kernel", None), flow("b", "kernel", None)];
        let failing_with = |transfer| {
            let evidence = Evidence {
                transfer,
                ..evidence(&kernel, None)
            };
            let checklist = Checklist::from(&evidence);
            failing(&checklist)
                .iter()
                .map(|title| (*title).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(failing_with(Ok(given_away("failed"))), ["call transfer"]);
        assert_eq!(failing_with(Err("no answer".into())), ["call transfer"]);
        let mut deaf = given_away("completed");
        deaf.caller.heard = None;
        assert_eq!(failing_with(Ok(deaf)), ["call transfer"]);
    }

    #[test]
    fn a_call_in_clear_fails_its_row() {
        let kernel = [flow("a", "kernel", None), flow("b", "kernel", None)];
        let call = |suite: Option<&str>| Evidence {
            secured: Some(Ok(Secured {
                tls: ["TLSv1.3 TLS_AES_256_GCM_SHA384", "TLSv1.2 ECDHE"].map(str::to_owned),
                suite: suite.map(str::to_owned),
                packets: 60,
                heard: Sound {
                    share: 0.99,
                    seconds: 2.0,
                },
            })),
            ..evidence(&kernel, None)
        };
        assert!(Checklist::from(&call(Some("AES_CM_128_HMAC_SHA1_80"))).holds());
        assert_eq!(failing(&Checklist::from(&call(None))), ["TLS and SRTP"]);
    }

    #[test]
    fn a_call_that_could_not_be_placed_fails_every_row_of_it() {
        let kernel = [flow("a", "kernel", None), flow("b", "kernel", None)];
        let evidence = Evidence {
            agent: Err("no answer".into()),
            ..evidence(&kernel, None)
        };
        let checklist = Checklist::from(&evidence);
        assert!(!checklist.holds());
        assert_eq!(failing(&checklist).len(), 6);
    }
}
