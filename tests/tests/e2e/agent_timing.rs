//! When what an agent says leaves, and when it is told so, by captures of RTP and of the WebSocket: both have the clock of the
//! machine. Where the machine has other things to do some of it is late; most of it is not, and that is what is checked.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use voxlane_tests::config::{BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::tshark::{self, Packet};
use voxlane_tests::phone::Phone;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(100);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// A packet time, seconds.
const PTIME: f64 = 0.020;

/// What `timing_agent.py` says: a minute in blocks of 2.5 s, then rounds of what it forgets again.
const BLOCKS: u8 = 24;
const BLOCK_PACKETS: usize = 125;
const ROUNDS: u8 = 5;
const FIRST_ROUND: u8 = 0x60;

/// The text messages of one direction, each with its time.
struct Said(Vec<(f64, String)>);

impl Said {
    fn at(&self, text: &str) -> f64 {
        let found = self.0.iter().find(|(_, said)| said.contains(text));
        found.unwrap_or_else(|| panic!("{text} was not said: {:?}", self.0)).0
    }
}

/// Packets that are of this byte only, each with its time.
fn of(packets: &[Packet], byte: u8) -> Vec<&Packet> {
    let is_of = |packet: &&Packet| packet.payload.iter().all(|other| *other == byte);
    packets.iter().filter(is_of).collect()
}

/// The one in the middle.
fn median(times: impl IntoIterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.into_iter().collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// How many of some times, in seconds, are not within a packet time of `usual`.
fn apart(times: &[f64], usual: f64) -> usize {
    times.iter().filter(|time| (**time - usual).abs() > PTIME).count()
}

/// What captures show of a call.
struct Captured {
    /// RTP that came to the caller.
    packets: Vec<Packet>,
    /// What the bot was told.
    told: Said,
    /// When it said `clear`.
    clears: Vec<f64>,
}

fn captured(binary: &Path) -> Result<Captured> {
    let net = Lab::new()?;
    let bot = Agent::timing(&net.gateway)?;
    let gateway = Gateway::start_with(binary, &net.gateway, &lab(Xdp::Auto, &bot.url()))?;
    let directory = tempfile::tempdir()?;
    let [rtp, websocket] = ["rtp.pcap", "websocket.pcap"].map(|name| directory.path().join(name));
    let port = bot.port();
    let captures = [
        tshark::capture(&net.carrier, &rtp)?,
        tshark::capture_websocket(&net.gateway, &websocket, port)?,
    ];
    let uri = format!("sip:{BOT}@{GATEWAY}");
    let phone = Phone::call(binary, &net.carrier, &uri, &["--duration", "95s"])?;
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, |flows| flows.leg("a").is_ok())?;
    let local = flows.leg("a")?.local.port();
    let report = phone.report(PATIENCE)?;
    ensure!(
        report.ended_by.as_deref() == Some("them"),
        "{report:?}\n{}",
        gateway.log()
    );
    gateway.wait_until_idle(PATIENCE)?;
    for capture in captures {
        capture.signal("INT")?;
        capture.wait(PATIENCE)?;
    }
    let texts = |direction: &str| {
        let filter = format!("tcp.{direction}=={port} && websocket");
        tshark::texts(&websocket, port, &filter)
    };
    let clears = texts("srcport")?.into_iter().filter(|(_, text)| text.contains("clear"));
    Ok(Captured {
        packets: tshark::packets(&rtp, local)?,
        told: Said(texts("dstport")?),
        clears: clears.map(|(at, _)| at).collect(),
    })
}

#[test]
fn a_minute_said_at_once_is_played_in_time_and_marks_and_clear_are_to_the_packet() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let Captured { packets, told, clears } = captured(&binary).unwrap();

    // Whole, in order, and in time.
    let blocks: Vec<Vec<&Packet>> = (1..=BLOCKS).map(|byte| of(&packets, byte)).collect();
    let counts: Vec<usize> = blocks.iter().map(Vec::len).collect();
    assert_eq!(counts, [BLOCK_PACKETS; BLOCKS as usize]);
    let minute: Vec<&Packet> = blocks.concat();
    let first = minute[0];
    assert!(
        minute
            .windows(2)
            .all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1))
    );
    let late: Vec<f64> = minute
        .iter()
        .map(|packet| packet.at - first.at - f64::from(packet.timestamp.wrapping_sub(first.timestamp)) / 8000.0)
        .collect();
    let usual = median(late.iter().copied());
    assert!(apart(&late, usual) < minute.len() / 5, "{late:?}");
    // The end is as late as the beginning: media and time pass at one rate.
    let tenth = late.len() / 10;
    let [begins, ends] = [&late[..tenth], &late[late.len() - tenth..]].map(|part| median(part.iter().copied()));
    assert!((ends - begins).abs() < PTIME, "{begins} s at first, {ends} s at last");

    // Marks.
    let marks: Vec<f64> = (0..)
        .zip(&blocks)
        .map(|(number, block)| told.at(&format!(r#""mark":{{"name":"{number}"}}"#)) - block[BLOCK_PACKETS - 1].at)
        .collect();
    println!("marks come back after the last packet before them has left, seconds: {marks:?}");
    assert!(apart(&marks, 0.0) < marks.len() / 3, "{marks:?}");

    // Clear.
    assert_eq!(clears.len(), usize::from(ROUNDS));
    let (mut sound, mut returned) = (Vec::new(), Vec::new());
    for (round, cleared) in (0..ROUNDS).zip(&clears) {
        let said = of(&packets, FIRST_ROUND + round);
        // Some was played, and not what was forgotten.
        assert!((15..45).contains(&said.len()), "round {round}: {} packets", said.len());
        sound.push(said[said.len() - 1].at - cleared);
        for name in ["first", "second", "third"] {
            returned.push(told.at(&format!(r#""mark":{{"name":"{name}-{round}"}}"#)) - cleared);
        }
    }
    println!("the last packet leaves after clear, seconds: {sound:?}; marks come back: {returned:?}");
    assert!(median(sound.iter().copied()) <= 2.0 * PTIME, "{sound:?}");
    let usual = median(returned.iter().copied());
    assert!((0.0..=2.0 * PTIME).contains(&usual), "{returned:?}");
}
