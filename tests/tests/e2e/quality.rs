//! How calls sound through bad networks, what is reported of that, and what becomes of calls that fall silent.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::config::{BOT, ECHO, NO_BOT, RELAYED, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::pcap::Fate;
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::baresip::{Baresip, Rtcp};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::peers::tshark;
use voxlane_tests::process::Process;
use voxlane_tests::reports::Flow;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// Frequency of the caller's tone: a packet is not whole periods of it.
const HERTZ: u32 = 330;

/// The greatest difference of two neighbours.
fn greatest_step(samples: &[i16]) -> i32 {
    let steps = samples
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
    steps.max().unwrap_or(0)
}

/// The first and the last sample that are loud.
fn sound(samples: &[i16]) -> &[i16] {
    let loud = |sample: &i16| sample.unsigned_abs() > 4000;
    let first = samples.iter().position(loud).unwrap_or(0);
    let last = samples.iter().rposition(loud).unwrap_or(0);
    &samples[first..=last.max(first)]
}

/// Lengths of time, in samples, for which there is next to nothing to hear.
fn longest_gap(samples: &[i16]) -> usize {
    let quiet = samples.split(|sample| sample.unsigned_abs() > 500);
    quiet.map(<[i16]>::len).max().unwrap_or(0)
}

/// What a bot and the gateway made of a call through a bad network.
struct Heard {
    leg: Flow,
    samples: Vec<i16>,
    limits_crossed: Vec<String>,
    log: String,
}

/// A call of a tone of which one packet in 25 is lost and one in 11 comes 30 ms late, after the next.
fn through_a_bad_network(binary: &Path, source: &[i16]) -> Result<Heard> {
    let net = Lab::new()?;
    let mut agent = Agent::tone(&net.gateway, 600, 1)?;
    let config = below(&lab(Xdp::Auto, &agent.url()), "[media]", "quality_period = \"2s\"");
    let gateway = Gateway::start_with(binary, &net.gateway, &config)?;
    let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, GATEWAY, BOT)?;
    let sent = caller.sound_through(source, |packet| match packet {
        packet if packet % 25 == 20 => Fate::Lost,
        packet if packet % 11 == 5 => Fate::Late(30),
        _ => Fate::OnTime,
    })?;
    let call = caller.options(&["-m", "1", "-d", "7000"]).start()?;
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, |flows| {
        flows.leg("a").is_ok_and(|leg| leg.received.packets >= u64::from(sent))
    })?;
    call.succeed(PATIENCE)?;
    agent.wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())?;
    let calls = gateway.calls()?;
    let call = calls.to(BOT).context("no record of the call")?;
    Ok(Heard {
        leg: flows.leg("a")?.clone(),
        samples: agent.heard(),
        limits_crossed: call.legs[0].limits_crossed.clone(),
        log: gateway.log(),
    })
}

#[test]
fn a_bot_hears_a_bad_network_without_gaps_or_clicks() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let source = tone(HERTZ, 6000);
    // A machine that stands still for longer than the jitter buffer may is not the network that is meant.
    let stood_still = |heard: &Heard| heard.leg.quality.buffer.is_some_and(|buffer| buffer.overflow > 0);
    let mut heard = through_a_bad_network(&binary, &source).unwrap();
    for _ in 0..2 {
        if stood_still(&heard) {
            heard = through_a_bad_network(&binary, &source).unwrap();
        }
    }
    let leg = &heard.leg;
    let (quality, buffer) = (leg.quality, leg.quality.buffer.unwrap());
    assert_eq!((leg.lane.as_str(), leg.received.lost), ("worker", 12), "{leg:?}");
    assert!(leg.received.reordered > 20, "{leg:?}");
    // It waits for what is late, and makes up what is lost.
    assert!(buffer.delay_ms >= 20.0, "{buffer:?}");
    assert!((200..1500).contains(&buffer.concealed_ms), "{buffer:?}");
    assert!(quality.mos.is_some_and(|mos| (2.5..4.2).contains(&mos)), "{quality:?}");

    let sound = sound(&heard.samples);
    let own = greatest_step(&source);
    assert!(
        greatest_step(sound) < own * 3 / 2,
        "a click: a step of {}, where the tone's own are {own}",
        greatest_step(sound)
    );
    assert!(
        longest_gap(sound) < 80,
        "a gap of {} samples: {buffer:?}",
        longest_gap(sound)
    );
    let pure = purity(sound, HERTZ);
    assert!(pure.share > 0.9 && pure.seconds > 5.5, "{pure:?}");

    // The network was beyond its limit, and the call's record says so.
    assert!(
        heard.limits_crossed.contains(&"loss".to_owned()),
        "{:?}",
        heard.limits_crossed
    );
    assert!(heard.log.contains("the network is beyond a limit"), "{}", heard.log);
}

#[test]
fn a_good_network_costs_nothing() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut agent = Agent::tone(&net.gateway, 600, 1).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url())).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, GATEWAY, BOT).unwrap();
    let sent = caller.sound(&tone(HERTZ, 3000)).unwrap();
    let call = caller.options(&["-m", "1", "-d", "4000"]).start().unwrap();
    let flows = gateway
        .wait_until(PATIENCE, Gateway::flows, |flows| {
            flows.leg("a").is_ok_and(|leg| leg.received.packets >= u64::from(sent))
        })
        .unwrap();
    call.succeed(PATIENCE).unwrap();
    let leg = flows.leg("a").unwrap();
    assert_eq!(leg.received.lost, 0, "{leg:?}");
    assert!(leg.quality.mos.is_some_and(|mos| mos > 4.2), "{leg:?}");
    agent
        .wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())
        .unwrap();
    let pure = purity(&agent.heard(), HERTZ);
    assert!(pure.share > 0.95 && pure.seconds > 2.7, "{pure:?}");
    let calls = gateway.calls().unwrap();
    assert!(calls.to(BOT).unwrap().legs[0].limits_crossed.is_empty(), "{calls:?}");
}

/// baresip and an agent's leg report to each other, and tshark reads what the gateway sends.
fn reports(binary: &Path, rtcp: Rtcp) -> Result<()> {
    let net = Lab::new()?;
    let gateway = Gateway::start_with(binary, &net.gateway, &lab(Xdp::Off, NO_BOT))?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("call.pcap");
    let mut command = net.gateway.command("tshark");
    command
        .args(["-q", "-i", "carrier0", "-f", "udp and not port 5060", "-w"])
        .arg(&file);
    let mut capture = Process::start("tshark", &mut command)?;
    capture.poll("the capture to begin", PATIENCE, |_| file.exists())?;

    let uri = format!("sip:{ECHO}@{GATEWAY_TO_CARRIER}");
    let call = Baresip::call_with(
        &net.carrier,
        CARRIER,
        &uri,
        &tone(1000, 20_000),
        Duration::from_secs(60),
        rtcp,
    );
    let mut call = call?;
    call.wait_established(PATIENCE)?;
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, |flows| {
        flows
            .leg("a")
            .is_ok_and(|leg| leg.rtt_ms.is_some() && leg.quality.far.is_some())
    })?;
    let leg = flows.leg("a")?;
    assert!(leg.rtt_ms.is_some_and(|rtt| rtt < 1000.0), "{leg:?}");
    assert_eq!(leg.quality.far.map(|far| far.loss), Some(0.0), "{leg:?}");
    assert!(leg.quality.far_mos.is_some_and(|mos| mos > 4.0), "{leg:?}");
    let each = |field| {
        let ports = [leg.local.port()];
        let from = format!(
            "rtcp && udp.srcport >= {} && ip.src == {GATEWAY_TO_CARRIER}",
            leg.local.port()
        );
        tshark::fields(&file, &ports, &from, field)
    };
    drop(call);
    gateway.stop()?;
    let goodbye =
        |_: &Process| each("rtcp.pt").is_ok_and(|kinds| kinds.last().is_some_and(|kinds| kinds.ends_with("203")));
    capture.poll("the BYE to be captured", PATIENCE, goodbye)?;
    capture.interrupt()?;
    // What another makes of our reports: sender reports with a block, a description, and a BYE at the end.
    let kinds = each("rtcp.pt")?;
    assert!(
        kinds
            .iter()
            .all(|kinds| kinds.starts_with("200,202") || kinds.starts_with("201,202")),
        "{kinds:?}"
    );
    assert_eq!(kinds.last().map(String::as_str), Some("200,202,203"), "{kinds:?}");
    let blocks = each("rtcp.rc")?;
    assert!(blocks.iter().any(|count| count.starts_with('1')), "{blocks:?}");
    let broken = each("_ws.malformed")?;
    assert!(broken.iter().all(String::is_empty), "{broken:?}");
    let port = each("udp.srcport")?;
    let expected = match rtcp {
        Rtcp::OwnPort => leg.local.port() + 1,
        Rtcp::Multiplexed => leg.local.port(),
    };
    assert!(port.iter().all(|port| *port == expected.to_string()), "{port:?}");
    Ok(())
}

#[test]
fn baresip_and_an_agent_leg_report_to_each_other() {
    if let Some(binary) = requirements::gateway_in_namespaces() {
        reports(&binary, Rtcp::OwnPort).unwrap();
    }
}

#[test]
fn they_may_report_on_the_port_of_the_sound() {
    if let Some(binary) = requirements::gateway_in_namespaces() {
        reports(&binary, Rtcp::Multiplexed).unwrap();
    }
}

#[test]
fn a_caller_that_falls_silent_is_hung_up_on_in_either_lane() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    for number in [ECHO, RELAYED] {
        let net = Lab::new().unwrap();
        let config = below(&lab(Xdp::Auto, NO_BOT), "[media]", "media_timeout = \"2s\"");
        let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
        let far = Sipp::answerer(&net.far, FAR).unwrap();
        let _far = far.options(&["-rtp_echo"]).listen().unwrap();
        let caller = Sipp::caller(&net.carrier, Scenario::FallsSilent, CARRIER, GATEWAY, number).unwrap();
        caller.sound(&tone(HERTZ, 1500)).unwrap();
        caller.options(&["-m", "1"]).start().unwrap().succeed(PATIENCE).unwrap();
        gateway.wait_until_idle(PATIENCE).unwrap();
        let calls = gateway.calls().unwrap();
        let cause = calls.to(number).unwrap().cause.clone().unwrap();
        // The far side echoes: of a relayed call both legs fall silent at once.
        let legs = if number == ECHO { "a" } else { "ab" };
        let mut causes = legs
            .chars()
            .map(|leg| format!("gateway: no media from leg {leg} for 2 s"));
        assert!(causes.any(|possible| possible == cause), "{cause}");
    }
}

#[test]
fn a_call_on_hold_may_be_silent() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = below(&lab(Xdp::Auto, NO_BOT), "[media]", "media_timeout = \"2s\"");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Holds, CARRIER, GATEWAY, ECHO).unwrap();
    caller.sound(&tone(HERTZ, 1000)).unwrap();
    caller
        .options(&["-m", "1", "-d", "5000"])
        .start()
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap();
    assert_eq!(calls.to(ECHO).unwrap().cause.as_deref(), Some("caller: hung up"));
}
