//! Five hundred relayed calls for a minute: of every packet that was sent, it is known what became of it.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab, Place};
use voxlane_tests::peers::scripted::{RTP, socket};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::reports::{Flow, Flows};
use voxlane_tests::requirements;
use voxlane_tests::rtp::Sender;

const PATIENCE: Duration = Duration::from_secs(120);

const CALLS: usize = 500;

/// Packets of 20 ms that each end of each call sends: a minute.
const PACKETS: u64 = 3000;

/// Packets that one side sends in all.
const SENT: u64 = CALLS as u64 * PACKETS;

/// The 20 ms of a packet are divided into as many parts, in each of which as many calls speak.
const PARTS: u32 = 20;

/// One end of one call: what it sends, from where, to where.
struct Speaker<'a> {
    stream: Sender,
    from: &'a UdpSocket,
    to: SocketAddr,
}

/// Lets all speak, [`PACKETS`] each, at the rate of sound. Whoever is late catches up.
fn speak(speakers: &mut [Speaker<'_>]) -> Result<()> {
    let part = Duration::from_millis(20) / PARTS;
    let at_once = speakers.len().div_ceil(PARTS as usize);
    let mut due = Instant::now();
    for _ in 0..PACKETS {
        for group in speakers.chunks_mut(at_once) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += part;
            for speaker in group {
                speaker.from.send_to(&speaker.stream.next_packet(), speaker.to)?;
            }
        }
    }
    Ok(())
}

/// Counts what arrives, until it is told that nothing more will and has read what is left.
fn listen(socket: &UdpSocket, over: &AtomicBool) -> Result<u64> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = [0; 2048];
    let mut packets = 0;
    loop {
        let last = over.load(Ordering::Acquire);
        match socket.recv(&mut buffer) {
            Ok(_) => packets += 1,
            Err(_) if last => return Ok(packets),
            Err(_) => {}
        }
    }
}

/// Datagrams that were at a socket's door and found no room behind it.
fn turned_away(place: &Place) -> Result<u64> {
    let output = place.command("cat").arg("/proc/net/snmp").output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().context("no Udp line")?, lines.next().context("no values")?);
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    let value = columns.find(|(name, _)| *name == "RcvbufErrors");
    Ok(value.context("no RcvbufErrors")?.1.parse()?)
}

/// Frames that never came to the gateway, for the sender's interface had no room for them.
fn never_sent(place: &Place) -> Result<u64> {
    let file = "/sys/class/net/eth0/statistics/tx_dropped";
    let output = place.command("cat").arg(file).output()?;
    String::from_utf8(output.stdout)?.trim().parse().context(file)
}

/// Frames that the gateway sent and the other end of its interface had no room for.
fn not_taken(gateway: &Place, interface: &str) -> Result<u64> {
    let output = gateway.command("ethtool").args(["-S", interface]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let values = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.ends_with("xdp_xmit_errors").then(|| value.trim().parse::<u64>())
    });
    Ok(values.sum::<Result<u64, _>>()?)
}

/// Local addresses of the legs on one side.
fn legs(flows: &Flows, leg: &str) -> Vec<SocketAddr> {
    let legs = flows.flows.iter().filter(|flow| flow.leg.as_deref() == Some(leg));
    legs.map(|flow| flow.local).collect()
}

#[test]
fn five_hundred_calls_account_for_every_packet() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let port = ["-key", "rtp_port", &RTP.to_string()];
    let answerer = Sipp::answerer_as(&net.far, Scenario::AnswersOnly, FAR).unwrap();
    let _answerer = answerer.options(&port).listen().unwrap();
    let sip = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
    let caller = Sipp::caller(&net.carrier, Scenario::SignalsOnly, CARRIER, sip, RELAYED).unwrap();
    let calls = CALLS.to_string();
    let options = ["-m", &calls, "-l", &calls, "-r", "100", "-d", "600000"];
    let _caller = caller.options(&port).options(&options).start().unwrap();
    let flows = gateway
        .wait_until(PATIENCE, Gateway::flows, |flows| {
            let relayed = flows.flows.iter().filter(|flow| flow.forwarded_to.is_some());
            relayed.count() == 2 * CALLS
        })
        .unwrap();

    // All callers speak from one socket, and all called from another: what tells the calls apart is the gateway's ports.
    let carrier = socket(&net.carrier, CARRIER, RTP).unwrap();
    let far = socket(&net.far, FAR, RTP).unwrap();
    let mut ssrcs = 1..;
    let mut speakers: Vec<Speaker<'_>> = legs(&flows, "a")
        .into_iter()
        .map(|to| (&carrier, to))
        .chain(legs(&flows, "b").into_iter().map(|to| (&far, to)))
        .map(|(from, to)| Speaker {
            stream: Sender::new(ssrcs.next().unwrap()),
            from,
            to,
        })
        .collect();
    assert_eq!(
        speakers.iter().map(|speaker| speaker.to).collect::<HashSet<_>>().len(),
        2 * CALLS
    );

    let over = AtomicBool::new(false);
    let read = thread::scope(|scope| {
        let readers = [&carrier, &far].map(|socket| scope.spawn(|| listen(socket, &over).unwrap()));
        let spoken = speak(&mut speakers);
        over.store(true, Ordering::Release);
        let read = readers.map(|reader| reader.join().unwrap());
        spoken.map(|()| read)
    })
    .unwrap();

    let flows = gateway.flows().unwrap();
    let sum = |leg: &str, of: fn(&Flow) -> u64| -> u64 {
        let legs = flows.flows.iter().filter(|flow| flow.leg.as_deref() == Some(leg));
        legs.map(of).sum()
    };
    for (from, to, sender, receiver, out, came) in [
        ("a", "b", &net.carrier, &net.far, "far0", read[1]),
        ("b", "a", &net.far, &net.carrier, "carrier0", read[0]),
    ] {
        let forwarded = sum(to, |flow| flow.sent_packets);
        let dropped = sum(from, |flow| flow.all_dropped());
        let lost_before = never_sent(sender).unwrap();
        let lost_after = not_taken(&net.gateway, out).unwrap();
        let unread = turned_away(receiver).unwrap();
        println!(
            "{from} to {to}: sent {SENT}, of which {lost_before} never left; forwarded {forwarded}, \
             dropped {dropped}; {lost_after} found no room on the wire, {came} arrived and were read, {unread} were not"
        );
        assert_eq!(SENT, lost_before + forwarded + dropped);
        assert_eq!(forwarded, lost_after + came + unread);
        assert_eq!(sum(from, |flow| flow.userspace_packets), 0);
        assert!(forwarded > SENT / 10 * 9);
    }
    assert!(
        flows
            .flows
            .iter()
            .all(|flow| flow.lane == "kernel" && flow.reason.is_none())
    );
}
