//! Calls whose legs differ in codec or packet time, and calls in G.722.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use voxlane_tests::audio::{breaks, from_alaw, from_ulaw, greatest_step, purity, to_alaw, to_ulaw, tone, tone_at};
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::baresip::{Baresip, Codec, Rtcp};
use voxlane_tests::peers::scripted::Scripted;
use voxlane_tests::peers::sipp::Scenario;
use voxlane_tests::peers::tshark;
use voxlane_tests::process::Process;
use voxlane_tests::reports::Flows;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(40);

const LISTS: &str = r#"codecs = ["PCMU", "PCMA"]"#;

/// [`lab`] with these codecs on the carrier's trunk and on the far one.
fn config(carrier: &str, far: &str) -> String {
    let config = lab(Xdp::Auto, NO_BOT);
    let parts: Vec<&str> = config.split(LISTS).collect();
    let [head, middle, tail] = parts[..] else {
        panic!("two trunks with codecs in {config}")
    };
    format!("{head}codecs = {carrier}{middle}codecs = {far}{tail}")
}

/// Both flows are a worker's for this reason, and media has come on both.
fn worked(flows: &Flows, reason: &str) -> bool {
    let worked = |flow: &voxlane_tests::reports::Flow| {
        flow.lane == "worker" && flow.reason.as_deref() == Some(reason) && flow.received.packets > 50
    };
    flows.flows.len() == 2 && flows.flows.iter().all(worked)
}

#[test]
fn baresip_talks_to_an_agent_in_g722() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(r#"["G722"]"#, r#"["PCMU"]"#)).unwrap();
    let uri = format!("sip:{ECHO}@{GATEWAY_TO_CARRIER}");
    let sound = tone_at(Codec::G722.rate(), 1000, 20_000);
    let six = Duration::from_secs(6);
    let mut call = Baresip::call_in(Codec::G722, &net.carrier, CARRIER, &uri, &sound, six).unwrap();
    call.wait_established(PATIENCE).unwrap();
    let calls = gateway
        .wait_until(PATIENCE, Gateway::calls, |calls| calls.to(ECHO).is_some())
        .unwrap();
    assert_eq!(calls.to(ECHO).unwrap().legs[0].codec.as_deref(), Some("G722"));
    let outcome = call.finish(PATIENCE).unwrap();
    // 1000 Hz of 16 kHz are as many samples as 500 of 8.
    let sound = purity(&outcome.heard, 500);
    assert!(sound.share > 0.9 && sound.seconds > 4.0, "{sound:?}\n{}", outcome.log);
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn baresip_in_g722_and_baresip_in_pcmu_hear_each_other() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(r#"["PCMU", "G722"]"#, r#"["PCMU"]"#)).unwrap();
    let far = Baresip::answer(&net.far, FAR, RELAYED, &tone(800, 60_000), Rtcp::OwnPort).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("call.pcap");
    let mut capture = tshark::capture(&net.carrier, &file).unwrap();
    let uri = format!("sip:{RELAYED}@{GATEWAY_TO_CARRIER}");
    let sound = tone_at(Codec::G722.rate(), 1000, 60_000);
    let six = Duration::from_secs(6);
    let mut call = Baresip::call_in(Codec::G722, &net.carrier, CARRIER, &uri, &sound, six).unwrap();
    call.wait_established(PATIENCE).unwrap();
    let flows = gateway
        .wait_until(PATIENCE, Gateway::flows, |flows| worked(flows, "codec"))
        .unwrap();
    let shown = gateway.flows_for_people().unwrap();
    assert!(shown.contains("its legs have different codecs"), "{shown}");
    let outcome = call.finish(PATIENCE).unwrap();
    // As above: 800 Hz.
    let heard = purity(&outcome.heard, 400);
    assert!(heard.share > 0.9 && heard.seconds > 3.0, "{heard:?}\n{}", outcome.log);
    gateway.wait_until_idle(PATIENCE).unwrap();
    let outcome = far.stop(PATIENCE).unwrap();
    let heard = purity(&outcome.heard, 1000);
    assert!(heard.share > 0.9 && heard.seconds > 3.0, "{heard:?}\n{}", outcome.log);

    let local = flows.leg("a").unwrap().local.port();
    // The gateway's stream to the caller ends with a BYE (RFC 3550 section 6.6).
    let reports = format!("udp.srcport=={} && rtcp", local + 1);
    let reported = || tshark::fields(&file, &[local], &reports, "rtcp.pt");
    let told = || reported().is_ok_and(|kinds| kinds.last().is_some_and(|last| last == "200,202,203"));
    capture
        .poll("the BYE to be captured", PATIENCE, |_: &Process| told())
        .unwrap();
    capture.interrupt().unwrap();
    let sent = format!("udp.srcport=={local} && rtp");
    let fields = |field| tshark::fields(&file, &[local], &sent, field).unwrap();
    assert!(fields("rtp.p_type").iter().all(|number| number == "9"));
    let markers = fields("rtp.marker")
        .iter()
        .filter(|marker| matches!(marker.as_str(), "1" | "True"))
        .count();
    assert_eq!(markers, 1, "one talk spurt");
    let stamps: Vec<u32> = fields("rtp.timestamp")
        .iter()
        .map(|stamp| stamp.parse().unwrap())
        .collect();
    assert!(stamps.len() > 200, "{}", stamps.len());
    assert!(
        stamps.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 160),
        "{stamps:?}"
    );
    let lost: i64 = tshark::streams(&file, &[local])
        .unwrap()
        .iter()
        .map(|stream| stream.lost)
        .sum();
    assert_eq!(lost, 0);
    let malformed = tshark::fields(&file, &[local], "_ws.malformed", "frame.number").unwrap();
    assert!(malformed.is_empty(), "{malformed:?}");
}

/// What one end of a call sends, and how.
struct Talker {
    socket: UdpSocket,
    to: SocketAddr,
    payload_type: u8,
    event: u8,
    ptime: u32,
    code: fn(i16) -> u8,
    decode: fn(u8) -> i16,
}

impl Talker {
    /// Sends four seconds of a tone in their time, with a key after each of the first; what has arrived meanwhile.
    fn talk(&self, frequency: u32, keys: &[u8]) -> Result<Vec<Vec<u8>>> {
        let samples = 8 * self.ptime;
        let sound = tone(frequency, 4000);
        let (mut sequence, begin) = (7u16, Instant::now());
        let mut came = Vec::new();
        let mut keys = keys.iter();
        let mut send = |payload_type: u8, timestamp: u32, payload: &[u8]| -> Result<()> {
            let mut packet = vec![0x80, payload_type];
            packet.extend(sequence.to_be_bytes());
            packet.extend(timestamp.to_be_bytes());
            packet.extend(0x1234_5678u32.to_be_bytes());
            packet.extend(payload);
            sequence += 1;
            self.socket.send_to(&packet, self.to)?;
            Ok(())
        };
        let mut timestamp = 0;
        let mut next_key = 8000;
        let mut chunks = sound.chunks_exact(samples as usize);
        while let Some(chunk) = chunks.next() {
            self.listen_until(begin + Duration::from_millis(u64::from(timestamp / 8)), &mut came)?;
            let payload: Vec<u8> = chunk.iter().map(|sample| (self.code)(*sample)).collect();
            send(self.payload_type, timestamp, &payload)?;
            timestamp += samples;
            if timestamp < next_key {
                continue;
            }
            next_key += 8000;
            let Some(key) = keys.next() else { continue };
            // Two packets and an end that is said three times (RFC 4733 section 2.5.1.4), in place of the sound.
            let began = timestamp;
            for (flags, packets) in [(10, 1), (10, 2), (0x8a, 3), (0x8a, 3), (0x8a, 3)] {
                self.listen_until(begin + Duration::from_millis(u64::from(timestamp / 8)), &mut came)?;
                let [high, low] = u16::try_from(packets * samples)?.to_be_bytes();
                send(self.event, began, &[*key, flags, high, low])?;
                timestamp += if packets < 3 { samples } else { 0 };
                chunks.next();
            }
            timestamp += samples;
        }
        self.listen_until(Instant::now() + Duration::from_millis(300), &mut came)?;
        Ok(came)
    }

    fn listen_until(&self, end: Instant, came: &mut Vec<Vec<u8>>) -> Result<()> {
        let mut buffer = [0; 2048];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.socket.set_read_timeout(Some(left))?;
            if let Ok(length) = self.socket.recv(&mut buffer) {
                came.push(buffer[..length].to_vec());
            }
        }
    }

    /// Checks what has arrived: one stream in this end's codec and packet time, with these keys in it; returns the sound.
    fn check(&self, came: &[Vec<u8>], keys: &[u8]) -> Result<Vec<i16>> {
        let word =
            |packet: &[u8], at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let sequence = |packet: &[u8]| u16::from_be_bytes([packet[2], packet[3]]);
        let first = came.first().context("nothing came")?;
        ensure!(first[1] == 0x80 | self.payload_type, "the marker is on the first");
        let (mut sound, mut pressed, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = word(first, 4);
        for (place, packet) in (0u16..).zip(came) {
            ensure!(word(packet, 8) == word(first, 8), "one SSRC");
            ensure!(
                sequence(packet) == sequence(first).wrapping_add(place),
                "packet {place} has its number"
            );
            let (kind, stamp, marker) = (packet[1] & 0x7f, word(packet, 4), packet[1] & 0x80 != 0);
            if kind == self.event {
                if marker {
                    pressed.push(packet[12]);
                    events.push(stamp);
                    ensure!(stamp == next, "a key begins where the sound ends: {stamp}, not {next}");
                }
                ensure!(events.last() == Some(&stamp), "all packets of a key have its time");
                continue;
            }
            ensure!(kind == self.payload_type, "payload type {kind}");
            ensure!(packet.len() == 12 + 8 * self.ptime as usize, "{} bytes", packet.len());
            if marker {
                let gap = stamp.wrapping_sub(next);
                ensure!(gap < 8 * 600, "after a gap of {gap}");
                sound.extend(std::iter::repeat_n(0, gap as usize));
            } else {
                ensure!(stamp == next, "packet {place} is at {stamp}, not {next}");
            }
            sound.extend(packet[12..].iter().map(|code| (self.decode)(*code)));
            next = stamp.wrapping_add(8 * self.ptime);
        }
        ensure!(pressed == keys, "{pressed:?} were pressed");
        Ok(sound)
    }
}

#[test]
fn pcmu_of_20_ms_and_pcma_of_30_ms_with_keys_between_them() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(r#"["PCMU"]"#, r#"["PCMU", "PCMA"]"#)).unwrap();
    let never = (Scenario::SignalsOnly, "600000");
    let call = Scripted::call_as(&net, &gateway, never, Scenario::AnswersInPcma).unwrap();
    let caller = Talker {
        socket: call.caller.try_clone().unwrap(),
        to: call.to_gateway,
        payload_type: 0,
        event: 101,
        ptime: 20,
        code: to_ulaw,
        decode: from_ulaw,
    };
    let far = Talker {
        socket: call.far.try_clone().unwrap(),
        to: call.back_to_gateway,
        payload_type: 8,
        event: 96,
        ptime: 30,
        code: to_alaw,
        decode: from_alaw,
    };
    let (to_caller, to_far) = thread::scope(|scope| {
        let far = scope.spawn(|| far.talk(440, &[]));
        let to_caller = caller.talk(300, &[5, 9, 9]).unwrap();
        (to_caller, far.join().unwrap().unwrap())
    });
    let shown = gateway.calls().unwrap();
    let shown = shown.to(RELAYED).unwrap();
    assert_eq!(
        shown.legs.iter().map(|leg| leg.digits.as_str()).collect::<Vec<_>>(),
        ["599", ""],
        "{shown:?}"
    );
    let flows = gateway.flows().unwrap();
    assert!(
        flows.flows.iter().all(|flow| flow.reason.as_deref() == Some("codec")),
        "{flows:?}"
    );

    let heard = caller.check(&to_caller, &[]).unwrap();
    assert_eq!(breaks(&heard, 440), 0, "no gap, no click");
    let sound = purity(&heard[..31_200], 440);
    assert!(sound.share > 0.99 && sound.seconds > 3.8, "{sound:?}");
    let step = greatest_step(&tone(440, 1000));
    assert!(
        greatest_step(&heard) < step * 6 / 5,
        "{} for {step}",
        greatest_step(&heard)
    );
    // The first second, before keys are in it.
    let heard = far.check(&to_far, &[5, 9, 9]).unwrap();
    assert_eq!(breaks(&heard[..7600], 300), 0);
    assert!(purity(&heard[..7600], 300).share > 0.99);
}

#[test]
fn legs_that_come_to_agree_go_to_the_kernel_lane() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(r#"["PCMU", "PCMA"]"#, r#"["PCMA"]"#)).unwrap();
    let second = (Scenario::ChangesCodec, "2000");
    let call = Scripted::call_as(&net, &gateway, second, Scenario::AnswersInPcma).unwrap();
    call.caller
        .send_to(&packet(0, 1, &[0xff; 160]), call.to_gateway)
        .unwrap();
    call.caller
        .send_to(&packet(0, 2, &[0xff; 160]), call.to_gateway)
        .unwrap();
    let mut buffer = [0; 2048];
    let length = call.far.recv(&mut buffer).unwrap();
    let before = buffer[..length].to_vec();
    assert_eq!(
        (before[1], &before[12..]),
        (0x88, &[0xd5; 240][..]),
        "both in one packet of 30 ms"
    );

    let in_kernel = |flows: &Flows| flows.flows.len() == 2 && flows.flows.iter().all(|flow| flow.lane == "kernel");
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, in_kernel).unwrap();
    assert!(flows.flows.iter().all(|flow| flow.reason.is_none()), "{flows:?}");
    let sent = packet(8, 3, &[0x2a; 240]);
    // The rest of the last packet of the worker's may come first.
    let after = loop {
        call.caller.send_to(&sent, call.to_gateway).unwrap();
        let length = call.far.recv(&mut buffer).unwrap();
        if buffer[12..length] == sent[12..] {
            break buffer[..length].to_vec();
        }
    };
    assert_eq!(after[8..12], before[8..12], "the stream goes on");
    assert_eq!(gateway.calls().unwrap().to(RELAYED).unwrap().id, call.id);
}

fn packet(payload_type: u8, number: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(0x1234_5678u32.to_be_bytes());
    packet.extend(payload);
    packet
}
