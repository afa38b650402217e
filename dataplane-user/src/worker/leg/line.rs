//! The media of an agent leg: what arrives becomes µ-law and presses, what is said becomes packets on the grid.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use voxlane_common::account::{StreamAccount, Tick};
use voxlane_common::address::TransportAddress;
use voxlane_common::latch::{Admission, Latch};
use voxlane_common::rtcp;
use voxlane_common::rtp::{RtpHeader, media};

use super::order::Sequencer;
use super::packetize::{Packetizer, Sound};
use super::report::{self, Cname, Sent, sender_report};
use crate::codec::g711::{from_ulaw, to_ulaw};
use crate::dtmf::{self, Press};
use crate::flows::{self, LegState, receives, sends};
use crate::media_plane::{RtcpPort, Session};
use crate::playout::Playout;
use crate::worker::clock::Clock;
use crate::worker::command::Left;
use crate::worker::ports::{Kind, Ports};
use crate::worker::stats::LegStats;

/// Most audio taken from one packet: 200 ms. No sender of telephony audio puts more into one.
const MAX_AUDIO: usize = 1600;

/// µ-law bytes in a millisecond.
const BYTES_A_MILLISECOND: usize = 8;

/// What a packet brought.
pub(super) enum Heard<'a> {
    /// Samples of silence in place of what was missing, then µ-law.
    Audio { silence: usize, audio: &'a [u8] },
    /// A key was released.
    Press(Press),
    /// Nothing to hear.
    Nothing,
}

/// The line of one leg.
pub(super) struct Line {
    ports: Ports,
    session: Option<Session>,
    stats: Arc<[LegStats]>,
    clock: Clock,
    rtp_latch: Latch,
    rtcp_latch: Latch,
    account: StreamAccount,
    sequencer: Sequencer,
    /// The keys of its far end, among what was heard in all.
    keys: flows::Heard,
    unused: u64,
    /// What was known of the leg when it became this line's.
    before: LegState,
    audio: [u8; MAX_AUDIO],
    packetizer: Packetizer,
    frame: Vec<u8>,
    cname: Cname,
    next_report: Duration,
}

impl Line {
    /// A line that is silent until it has a session.
    pub(super) fn new(ports: Ports, ptime: u8, stats: Arc<[LegStats]>, clock: Clock) -> Self {
        let samples = usize::from(ptime) * BYTES_A_MILLISECOND;
        Self {
            ports,
            session: None,
            stats,
            clock,
            rtp_latch: Latch::default(),
            rtcp_latch: Latch::default(),
            account: StreamAccount::default(),
            sequencer: Sequencer::default(),
            keys: flows::Heard::default(),
            unused: 0,
            before: LegState::default(),
            audio: [0; MAX_AUDIO],
            packetizer: Packetizer::new(samples),
            frame: vec![0; samples],
            cname: Cname::random(),
            next_report: Duration::ZERO,
        }
    }

    /// Goes on from where another has left the leg.
    pub(super) fn take_up(&mut self, left: Left) {
        let LegState { rtp, rtcp, heard } = left.received;
        self.rtp_latch = rtp.latch;
        self.rtcp_latch = rtcp.latch;
        self.account = rtp.account;
        self.unused = rtp.dropped_in_all();
        self.keys = heard;
        self.before = left.received;
        self.packetizer.take_up(&left);
        if let Some(stats) = self.stats.first() {
            stats.begin(&heard);
            stats.set_stream(&self.account, self.rtp_latch.source(), self.unused);
            stats.set_drops(|reason| rtp.dropped(reason) + rtcp.dropped(reason));
            stats.set_sent(left.sent_packets);
        }
    }

    /// What it leaves to another; nothing if the leg was not up.
    pub(super) fn left(&self) -> Option<Left> {
        self.session.as_ref()?;
        let mut received = self.before;
        received.rtp.latch = self.rtp_latch;
        received.rtp.account = self.account;
        received.rtcp.latch = self.rtcp_latch;
        received.heard = self.keys;
        if let Some(stats) = self.stats.first() {
            received.heard.datagrams = stats.userspace_packets();
        }
        Some(Left {
            received,
            sent: self.packetizer.sent(),
            sent_packets: self.packetizer.packets(),
        })
    }

    /// Its sockets, when it is no more.
    pub(super) fn into_ports(self) -> Ports {
        self.ports
    }

    /// Its sockets.
    pub(super) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Its sockets, to register them.
    pub(super) fn ports_mut(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// Whether media may flow.
    pub(super) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Changes what was agreed. If the far end has moved, the latches open again.
    pub(super) fn set_session(&mut self, session: Session, now: Duration) {
        match &self.session {
            Some(before) => {
                if (before.remote_rtp, before.remote_rtcp) != (session.remote_rtp, session.remote_rtcp) {
                    self.rtp_latch = Latch::default();
                    self.rtcp_latch = Latch::default();
                }
            }
            None => self.next_report = now + report::INTERVAL,
        }
        self.ports.set_keys(session.srtp.as_ref());
        if let Some(stats) = self.stats.first() {
            stats.set_refused(self.ports.refused());
        }
        self.session = Some(session);
    }

    /// What has arrived without SRTP's protection; `None` if it was refused.
    pub(super) fn unprotect<'a>(&mut self, kind: Kind, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let taken = self.ports.unprotect(kind, datagram);
        if taken.is_err()
            && let Some(stats) = self.stats.first()
        {
            stats.on_received();
            stats.set_refused(self.ports.refused());
        }
        datagram.get(..taken.ok()?)
    }

    /// Takes one datagram.
    pub(super) fn on_datagram(&mut self, kind: Kind, datagram: &[u8], from: SocketAddr, now: Duration) -> Heard<'_> {
        if let Some(stats) = self.stats.first() {
            stats.on_received();
        }
        let shared = self
            .session
            .as_ref()
            .is_some_and(|session| session.rtcp_port == RtcpPort::Shared);
        let is_rtcp = matches!(datagram, [first, second, ..] if rtcp::is_rtcp(*first, *second));
        match kind {
            Kind::Rtp if !(shared && is_rtcp) => self.on_rtp(datagram, from, now),
            Kind::Rtp | Kind::Rtcp => {
                self.on_rtcp(datagram, from);
                Heard::Nothing
            }
        }
    }

    /// A press whose end was lost.
    pub(super) fn lost_end(&mut self, now: Duration) -> Option<Press> {
        let press = self.keys.on_time(self.clock.monotonic_ns(now));
        self.counted(press)
    }

    /// A press is told, and counted.
    fn counted(&self, press: Option<Press>) -> Option<Press> {
        if let (Some(_), Some(stats)) = (press, self.stats.first()) {
            stats.set_heard(&self.keys);
        }
        press
    }

    fn on_rtcp(&mut self, datagram: &[u8], from: SocketAddr) {
        let source = TransportAddress::new(from);
        if let (Some(session), [first, second, ..]) = (&self.session, datagram)
            && datagram.len() >= rtcp::MIN_LEN
            && rtcp::is_rtcp(*first, *second)
            && !source.is_none()
        {
            let (signalled, owner) = (session.remote_rtcp.into(), self.rtp_latch.source());
            self.rtcp_latch.on_rtcp(session.latch, signalled, owner, source);
        }
    }

    fn on_rtp(&mut self, datagram: &[u8], from: SocketAddr, now: Duration) -> Heard<'_> {
        let outcome = self.take(datagram, from, now);
        if outcome.is_none() {
            self.unused += 1;
        }
        if let Some(stats) = self.stats.first() {
            stats.set_stream(&self.account, self.rtp_latch.source(), self.unused);
        }
        match outcome {
            Some(Taken::Audio { silence, length }) => Heard::Audio {
                silence,
                audio: &self.audio[..length],
            },
            Some(Taken::Event(Some(press))) => Heard::Press(press),
            Some(Taken::Event(None)) | None => Heard::Nothing,
        }
    }

    /// `None` for a packet that is of no use.
    fn take(&mut self, datagram: &[u8], from: SocketAddr, now: Duration) -> Option<Taken> {
        let session = self.session.as_ref()?;
        let header = RtpHeader::parse(datagram)?;
        let payload = media(datagram)?;
        let payload_type = header.payload_type();
        let is_event = session
            .telephone_event
            .is_some_and(|event| event.receive == payload_type);
        if !is_event && payload_type != session.receive_payload_type {
            return None;
        }
        let source = TransportAddress::new(from);
        if source.is_none() {
            return None;
        }
        let signalled = session.remote_rtp.into();
        match self.rtp_latch.on_rtp(session.latch, signalled, source, &header) {
            Admission::Owner | Admission::NewOwner => {}
            Admission::Probation | Admission::Stranger => return None,
        }
        let bytes = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        let tick = Tick::of_rate(session.codec.clock_rate());
        let now_ns = self.clock.monotonic_ns(now);
        self.account.on_packet(&header, bytes, now_ns, tick);
        if !receives(session.direction) {
            return None;
        }
        if is_event {
            self.sequencer.on_event(&header).ok()?;
            let press = self.keys.on_event_packet(datagram, now_ns);
            return Some(Taken::Event(self.counted(press)));
        }
        let audio = self.audio.get_mut(..payload.len())?;
        let samples = u32::try_from(audio.len()).unwrap_or(u32::MAX);
        let silence = self.sequencer.on_audio(&header, samples).ok()?;
        audio.copy_from_slice(payload);
        to_ulaw(session.codec, audio);
        Some(Taken::Audio {
            silence: silence as usize,
            length: audio.len(),
        })
    }

    /// Sends what is due in `frame` of the grid: a key that is pressed, else the next audio, else silence.
    pub(super) fn send(&mut self, frame: u64, playout: &mut Playout, keys: &mut dtmf::Sender, now: Duration) {
        let Some(session) = &self.session else {
            return;
        };
        let now_ns = self.clock.monotonic_ns(now);
        let tick = Tick::of_rate(session.codec.clock_rate());
        if !self.packetizer.begin(frame, now_ns, tick) {
            return;
        }
        let timestamp = self.packetizer.timestamp(frame);
        let sending = sends(session.direction);
        let event = session.telephone_event.filter(|_| sending);
        if event.is_none() {
            // Keys that cannot be sent are lost, as audio is.
            keys.clear();
        }
        // A key takes the place of the audio of its time.
        let sound = if playout.next(&mut self.frame) {
            Sound::Talk
        } else {
            Sound::Silence
        };
        if !sending {
            return;
        }
        let key = event.and_then(|event| Some((event.send, keys.next(timestamp)?)));
        let packet = match key {
            Some((payload_type, key)) => self
                .packetizer
                .event(payload_type, key.marker, key.timestamp, &key.payload),
            None => {
                from_ulaw(session.codec, &mut self.frame);
                self.packetizer
                    .audio(frame, session.send_payload_type, sound, &self.frame)
            }
        };
        if let Some(to) = destination(&self.rtp_latch, session.remote_rtp) {
            // A packet the system does not take is lost, as on the way.
            self.ports.send(Kind::Rtp, Kind::Rtp, packet, to);
        }
        self.packetizer.sent_at(now_ns);
        if let Some(stats) = self.stats.first() {
            stats.set_sent(self.packetizer.packets());
        }
        if now >= self.next_report {
            self.next_report = now + report::INTERVAL;
            self.report(timestamp);
        }
    }

    fn report(&mut self, timestamp: u32) {
        let signalled = self.session.as_ref().map(|session| session.remote_rtcp);
        if let Some(to) = signalled.and_then(|signalled| destination(&self.rtcp_latch, signalled)) {
            let sent = Sent {
                ssrc: self.packetizer.ssrc(),
                timestamp,
                packets: self.packetizer.packets(),
                octets: self.packetizer.octets(),
                at: SystemTime::now(),
            };
            let kind = match self.session.as_ref().map(|session| session.rtcp_port) {
                Some(RtcpPort::Shared) => Kind::Rtp,
                Some(RtcpPort::Own) | None => Kind::Rtcp,
            };
            self.ports.send(Kind::Rtcp, kind, &sender_report(&sent, self.cname), to);
        }
    }
}

/// What came of a packet.
enum Taken {
    Audio { silence: usize, length: usize },
    Event(Option<Press>),
}

/// Where packets have been found to come from, else where signalling said; `None` if neither can be sent to.
fn destination(latch: &Latch, signalled: SocketAddr) -> Option<SocketAddr> {
    let found = latch.source().get();
    found.or_else(|| TransportAddress::new(signalled).get())
}
