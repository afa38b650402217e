//! Two hours of calls under simulated time, with far ends whose clocks are off by 200 ppm: what leaves is one stream without a
//! step, drift builds up nowhere, and the allocator is asked for nothing after the first minute.
//!
//! Only the sockets are real; nothing waits for anything.

use std::f64::consts::TAU;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::unbounded;
use mio::{Poll, Token};
use voxlane_common::rtp::RtpHeader;
use voxlane_common::splice::Continuity;

use super::Settings;
use super::bridge::{Bridge, TICK_MS};
use super::clock::Clock;
use super::command::{NewRelay, RelayLeg};
use super::io::Sockets;
use super::leg::{AgentLeg, Voice};
use super::opening::Opened;
use super::ports::{Kind, Ports};
use super::relay::Side;
use super::stats::LegStats;
use super::wheel::Wheel;
use super::wire::Wire;
use crate::allocations::Turn;
use crate::codec::Codec;
use crate::codec::g711::linear_to_ulaw;
use crate::flows::Rules;
use crate::media_plane::{AgentSpec, Direction, EndpointId, LatchMode, Pacing, RtcpPort, Session};

const HOURS: Duration = Duration::from_secs(2 * 3600);

/// After which nothing is allocated.
const SETTLED: Duration = Duration::from_secs(60);

/// Packet time of a far end that talks.
const PTIME: Duration = Duration::from_millis(20);

/// Samples after which the tone, 440 Hz, comes round.
const PERIOD: u32 = 200;

/// A port pair that was free when it was asked for.
fn sockets() -> (Sockets, SocketAddr) {
    loop {
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut rtp = probe.local_addr().unwrap();
        rtp.set_port(rtp.port() & !1);
        drop(probe);
        if let Ok(sockets) = Sockets::bind(rtp, 0) {
            return (sockets, rtp);
        }
    }
}

/// A far end that talks without a pause, by a clock of its own.
struct Talker {
    address: SocketAddr,
    sockets: Sockets,
    /// How long its 20 ms are.
    ptime: Duration,
    sent: u32,
    packet: [u8; 172],
    tone: [u8; PERIOD as usize + 160],
    heard: Heard,
}

/// What a far end has been sent.
#[derive(Default)]
struct Heard {
    packets: u64,
    samples: u32,
    last: Option<RtpHeader>,
    steps: u64,
}

impl Talker {
    /// One whose clock is so much slow.
    fn new(ppm: i64) -> Self {
        let (sockets, address) = sockets();
        let nanoseconds = 20_000_000 + 20 * ppm;
        Self {
            address,
            sockets,
            ptime: Duration::from_nanos(nanoseconds.unsigned_abs()),
            sent: 0,
            packet: [0; 172],
            tone: std::array::from_fn(|place| {
                let turn = place as f64 / f64::from(PERIOD);
                linear_to_ulaw((8000.0 * (TAU * 11.0 * turn).sin()) as i16)
            }),
            heard: Heard::default(),
        }
    }

    fn session(&self, codec: Codec, ptime: u8) -> Session {
        Session {
            remote_rtp: self.address,
            remote_rtcp: self.sockets.rtcp.local_addr().unwrap(),
            rtcp_port: RtcpPort::Own,
            codec,
            send_payload_type: codec.payload_type(),
            receive_payload_type: codec.payload_type(),
            telephone_event: None,
            ptime,
            direction: Direction::SendRecv,
            latch: LatchMode::Nat,
            pacing: Pacing::Off,
            srtp: None,
        }
    }

    /// The next packet, if it has come by now, and when it came: up to 2 ms after it was due, now this much, now that.
    fn next(&mut self, now: Duration) -> Option<(&mut [u8], Duration)> {
        let jitter = u64::from(self.sent.wrapping_mul(2_654_435_761) >> 11);
        let came = self.ptime * self.sent + Duration::from_nanos(5_000_000 + jitter);
        if came > now {
            return None;
        }
        let timestamp = self.sent.wrapping_mul(160);
        self.packet[0] = 0x80;
        self.packet[2..4].copy_from_slice(&(self.sent as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        self.packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
        let place = (timestamp % PERIOD) as usize;
        self.packet[12..].copy_from_slice(&self.tone[place..place + 160]);
        self.sent += 1;
        Some((&mut self.packet, came))
    }

    /// Takes what it was sent.
    fn listen(&mut self) {
        let mut packet = [0; 2048];
        while self.sockets.rtcp.recv(&mut packet).is_ok() {}
        while let Ok(length) = self.sockets.rtp.recv(&mut packet) {
            self.heard.take(&packet[..length]);
        }
    }
}

/// A packet in the clear.
fn opened(packet: &mut [u8]) -> Opened<'_> {
    Opened {
        length: Ok(packet.len()),
        buffer: packet,
    }
}

impl Heard {
    fn take(&mut self, packet: &[u8]) {
        let header = RtpHeader::parse(packet).unwrap();
        if let Some(last) = &self.last {
            let regular = header.ssrc() == last.ssrc()
                && header.sequence() == last.sequence().wrapping_add(1)
                && header.timestamp() == last.timestamp().wrapping_add(self.samples);
            self.steps += u64::from(!regular);
        }
        self.packets += 1;
        self.samples = packet.len() as u32 - 12;
        self.last = Some(header);
    }
}

/// Calls `tick` every `period` until the time is up, counting what this thread allocates once things have settled.
fn pass_two_hours(period: Duration, mut tick: impl FnMut(u64, Duration)) {
    let turn = Turn::wait();
    let ticks = HOURS.as_nanos() / period.as_nanos();
    for number in 1..=u64::try_from(ticks).unwrap() {
        let now = period * u32::try_from(number).unwrap();
        if now == SETTLED {
            turn.count_this_thread();
        }
        tick(number, now);
    }
    assert_eq!(turn.counted(), 0, "calls of the allocator");
}

/// An agent that says what it hears, and a far end whose clock is `ppm` slow.
fn agent(ppm: i64) {
    let (sockets, _) = sockets();
    let (events, _told) = unbounded();
    let (wire, clock, poll) = (Wire::new(), Clock::start(), Poll::new().unwrap());
    let stats: Arc<[LegStats]> = vec![LegStats::default()].into();
    let (mut talker, mut ticks) = (Talker::new(ppm), Wheel::new(TICK_MS));
    let voice = Voice::start(
        EndpointId(1),
        AgentSpec::Echo,
        &Settings::from(20),
        events,
        Duration::ZERO,
    );
    let ports = Ports::new(sockets, &wire).unwrap();
    let mut leg = AgentLeg::new(ports, &Settings::from(20), voice, 0, Arc::clone(&stats), clock);
    leg.set_session(talker.session(Codec::Pcmu, 20), &mut ticks, 0, Duration::ZERO);
    let mut longest: f64 = 0.0;
    pass_two_hours(PTIME, |frame, now| {
        let from = talker.address;
        while let Some((packet, came)) = talker.next(now) {
            leg.on_datagram(Kind::Rtp, opened(packet), from, came);
        }
        leg.on_due(frame, now);
        leg.settle(poll.registry(), Token(0));
        wire.flush();
        talker.listen();
        longest = longest.max(stats[0].buffer().map_or(0.0, |buffer| buffer.delay_ms));
    });
    let (stream, buffer) = (stats[0].stream(), stats[0].buffer().unwrap());
    assert_eq!(
        (stream.packets, stream.lost, stream.dropped),
        (talker.sent.into(), 0, 0)
    );
    assert_eq!((talker.heard.packets, talker.heard.steps), (stats[0].sent_packets(), 0));
    assert_eq!(talker.heard.packets, (HOURS.as_millis() / 20) as u64);
    assert_eq!((buffer.late, buffer.overflow), (0, 0), "{buffer:?}");
    // 1.44 s of drift in all, which at most 50 ms of delay are built up of at any time.
    assert!(longest <= 50.0, "{longest} ms: {buffer:?}");
    let turned = if ppm > 0 { buffer.lengthened } else { buffer.shortened };
    assert!(turned > 90, "{buffer:?}");
}

#[test]
fn an_agent_and_a_far_end_with_a_slow_clock() {
    agent(200);
}

#[test]
fn an_agent_and_a_far_end_with_a_fast_clock() {
    agent(-200);
}

/// PCMU of 20 ms by a clock that is `ppm` slow, and PCMA of 30 ms.
fn bridge(ppm: i64) {
    let talkers = [Talker::new(ppm), Talker::new(0)];
    let sessions = [talkers[0].session(Codec::Pcmu, 20), talkers[1].session(Codec::Pcma, 30)];
    let (events, _told) = unbounded();
    let (wire, clock) = (Wire::new(), Clock::start());
    let stats: Arc<[LegStats]> = vec![LegStats::default(), LegStats::default()].into();
    let mut number = 0;
    let legs = sessions.map(|session| {
        number += 1;
        RelayLeg {
            endpoint: EndpointId(number),
            sockets: sockets().0,
            session,
            continuity: Continuity::Spliced,
        }
    });
    let pair = NewRelay {
        legs,
        rules: Rules::default(),
        states: None,
    };
    let counted = Arc::clone(&stats);
    let mut bridge = Bridge::new(pair, counted, clock, events, 0, Duration::ZERO, &wire).unwrap();
    let [mut a, mut b] = talkers;
    pass_two_hours(Duration::from_millis(TICK_MS.into()), |_, now| {
        let from = a.address;
        while let Some((packet, came)) = a.next(now) {
            bridge.on_datagram(Side::A, Kind::Rtp, opened(packet), from, came);
        }
        bridge.on_due(now);
        wire.flush();
        b.listen();
    });
    let stream = stats[0].stream();
    assert_eq!((stream.packets, stream.lost, stream.dropped), (a.sent.into(), 0, 0));
    assert_eq!((b.heard.steps, b.heard.samples), (0, 240));
    // Not a sample was left out, nor one made up: what is not there yet waits, less than 200 ms of it.
    let (sent, heard) = (u64::from(a.sent) * 160, b.heard.packets * 240);
    assert!(sent >= heard && sent - heard < 1600, "{sent} {heard}");
    assert_eq!(stats[1].sent_packets(), b.heard.packets);
}

#[test]
fn a_bridge_and_a_far_end_with_a_slow_clock() {
    bridge(200);
}

#[test]
fn a_bridge_and_a_far_end_with_a_fast_clock() {
    bridge(-200);
}
