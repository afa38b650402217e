//! The media of a leg that ends at a worker: what arrives is judged and counted, what is to be sent becomes packets, and both
//! are reported.

mod expect;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use voxlane_common::account::{StreamAccount, Tick};
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::latch::{Admission, Latch};
use voxlane_common::police::Police;
use voxlane_common::rtcp;
use voxlane_common::rtp::{RtpHeader, media};

use super::packetize::{Marker, Packetizer, Sound};
use super::report::{Goes, Reporter, Sent};
use crate::codec::Codec;
use crate::codec::g711::BYTES_A_MILLISECOND;
use crate::dtmf::{self, Press};
use crate::flows::{self, COMFORT_NOISE, LegState, receives, sends};
use crate::media_plane::{Pacing, RtcpPort, Session};
use crate::reception::{Figures, Inserted, Kind as Carries};
use crate::worker::clock::Clock;
use crate::worker::command::Left;
use crate::worker::opening::Opened;
use crate::worker::ports::{Kind, Ports};
use crate::worker::stats::LegStats;

/// Most audio taken from one packet: 200 ms. No sender of telephony audio puts more into one.
pub(in crate::worker) const MAX_AUDIO: usize = 1600;

/// How long after the time of the grid a packet leaves that has a departure time: the worker has written it by then.
const LEAD: Duration = Duration::from_millis(2);

/// A packet that is to be heard.
pub(in crate::worker) struct Arrived<'a> {
    pub(in crate::worker) header: RtpHeader,
    pub(in crate::worker) carries: Carries,
    /// What follows the header.
    pub(in crate::worker) payload: &'a [u8],
}

/// What a line is to send.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) enum Content<'a> {
    /// Audio of the leg's codec.
    Audio(&'a [u8]),
    /// What follows the RTP header in a telephone event's packet.
    Key(&'a [u8; 4]),
}

/// The line of one leg.
pub(in crate::worker) struct Line {
    ports: Ports,
    session: Option<Session>,
    stats: Arc<[LegStats]>,
    /// Its place in them.
    place: usize,
    clock: Clock,
    rtp_latch: Latch,
    rtcp_latch: Latch,
    /// How fast media may come, and its bucket.
    police: (Police, u64),
    account: StreamAccount,
    /// The keys of its far end, among what was heard in all.
    keys: flows::Heard,
    unused: u64,
    /// What was known of the leg when it became this line's.
    before: LegState,
    packetizer: Packetizer,
    frame: Vec<u8>,
    reporter: Reporter,
}

impl Line {
    /// A line that is silent until it has a session. `place` is that of its counters in `stats`.
    pub(in crate::worker) fn new(
        ports: Ports,
        ptime: u8,
        stats: Arc<[LegStats]>,
        place: usize,
        clock: Clock,
        now: Duration,
    ) -> Self {
        let samples = usize::from(ptime) * BYTES_A_MILLISECOND;
        Self {
            ports,
            session: None,
            stats,
            place,
            clock,
            rtp_latch: Latch::default(),
            rtcp_latch: Latch::default(),
            police: (Police::OFF, 0),
            account: StreamAccount::default(),
            keys: flows::Heard::default(),
            unused: 0,
            before: LegState::default(),
            packetizer: Packetizer::new(samples),
            frame: vec![0; samples],
            reporter: Reporter::new(now),
        }
    }

    /// Goes on from where another has left the leg.
    pub(in crate::worker) fn take_up(&mut self, left: Left) {
        let LegState { rtp, rtcp, heard } = left.received;
        self.rtp_latch = rtp.latch;
        self.rtcp_latch = rtcp.latch;
        self.account = rtp.account;
        self.unused = rtp.dropped_in_all();
        self.keys = heard;
        self.before = left.received;
        self.packetizer.take_up(&left);
        if let Some(stats) = self.stats.get(self.place) {
            stats.begin(&heard);
            stats.set_stream(&self.account, self.rtp_latch.source(), self.unused);
            stats.set_drops(|reason| rtp.dropped(reason) + rtcp.dropped(reason));
            stats.set_sent(left.sent_packets);
        }
    }

    /// What it leaves to another; nothing if the leg was not up.
    pub(in crate::worker) fn left(&self) -> Option<Left> {
        self.session.as_ref()?;
        let mut received = self.before;
        received.rtp.latch = self.rtp_latch;
        received.rtp.account = self.account;
        received.rtcp.latch = self.rtcp_latch;
        received.heard = self.keys;
        if let Some(stats) = self.stats.get(self.place) {
            received.heard.datagrams = stats.userspace_packets();
        }
        Some(Left {
            received,
            sent: self.packetizer.sent(),
            sent_packets: self.packetizer.packets(),
        })
    }

    /// Its sockets, when it is no more.
    pub(in crate::worker) fn into_ports(self) -> Ports {
        self.ports
    }

    /// Its sockets.
    pub(in crate::worker) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Its sockets, to register them.
    pub(in crate::worker) fn ports_mut(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// Whether media may flow.
    pub(super) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Changes what was agreed. If the far end has moved, the latches open again.
    pub(in crate::worker) fn set_session(&mut self, session: Session) {
        if let Some(before) = &self.session
            && before.remote() != session.remote()
        {
            self.rtp_latch = Latch::default();
            self.rtcp_latch = Latch::default();
        }
        self.ports.set_keys(session.srtp.as_ref(), self.clock.now());
        if let Some(stats) = self.stats.get(self.place) {
            stats.set_refused(&self.ports.refused());
        }
        self.session = Some(session);
    }

    /// Media that comes faster than this is dropped from now on.
    pub(in crate::worker) fn set_police(&mut self, police: Police) {
        self.police.0 = police;
    }

    /// Sends packets of `ptime` milliseconds from now on, on a grid of their own.
    pub(super) fn set_ptime(&mut self, ptime: u8) {
        let samples = usize::from(ptime) * BYTES_A_MILLISECOND;
        self.frame.resize(samples, 0);
        self.packetizer.set_samples(samples);
    }

    /// The codec of what is to be heard; `None` if nothing is.
    pub(super) fn heard_in(&self) -> Option<Codec> {
        let session = self.session.as_ref()?;
        receives(session.direction).then_some(session.codec)
    }

    /// What has arrived, if SRTP has not refused it.
    pub(in crate::worker) fn opened<'a>(&self, opened: Opened<'a>) -> Option<&'a [u8]> {
        if opened.length.is_err()
            && let Some(stats) = self.stats.get(self.place)
        {
            stats.on_received();
            stats.set_refused(&self.ports.refused());
        }
        opened.buffer.get(..opened.length.ok()?)
    }

    /// Takes one datagram; a packet that is to be heard, if it is one.
    pub(in crate::worker) fn on_datagram<'a>(
        &mut self,
        kind: Kind,
        datagram: &'a [u8],
        from: SocketAddr,
        now: Duration,
    ) -> Option<Arrived<'a>> {
        if let Some(stats) = self.stats.get(self.place) {
            stats.on_received();
        }
        let shared = self
            .session
            .as_ref()
            .is_some_and(|session| session.rtcp_port == RtcpPort::Shared);
        let is_rtcp = matches!(datagram, [first, second, ..] if rtcp::is_rtcp(*first, *second));
        match kind {
            Kind::Rtp if !(shared && is_rtcp) => {
                let arrived = self.admit(datagram, from, now);
                if arrived.is_none() {
                    self.unused += 1;
                }
                self.publish();
                arrived
            }
            Kind::Rtp | Kind::Rtcp => {
                self.on_rtcp(datagram, from, now);
                None
            }
        }
    }

    /// What has become of a packet that was to be heard.
    pub(in crate::worker) fn on_inserted(&mut self, inserted: Inserted) {
        match inserted {
            Inserted::Waits => {}
            Inserted::Late | Inserted::Duplicate | Inserted::Overflow => {
                self.unused += 1;
                self.publish();
            }
        }
    }

    /// A telephone event's turn has come, at `due`; a press that it ends.
    pub(in crate::worker) fn on_event(&mut self, header: &RtpHeader, payload: &[u8], due: Duration) -> Option<Press> {
        let press = self.keys.on_event(header, payload, self.clock.monotonic_ns(due));
        self.counted(press)
    }

    /// A press whose end was lost.
    pub(in crate::worker) fn lost_end(&mut self, now: Duration) -> Option<Press> {
        let press = self.keys.on_time(self.clock.monotonic_ns(now));
        self.counted(press)
    }

    /// What the jitter buffer has done.
    pub(super) fn heard_with(&self, figures: &Figures) {
        if let Some(stats) = self.stats.get(self.place) {
            stats.set_buffer(figures);
        }
    }

    /// A press is told, and counted.
    fn counted(&self, press: Option<Press>) -> Option<Press> {
        if let (Some(_), Some(stats)) = (press, self.stats.get(self.place)) {
            stats.set_heard(&self.keys);
        }
        press
    }

    fn on_dropped(&mut self, reason: DropReason) {
        let LegState { rtp, rtcp, .. } = &mut self.before;
        rtp.on_dropped(reason);
        if let Some(stats) = self.stats.get(self.place) {
            stats.set_drops(|reason| rtp.dropped(reason) + rtcp.dropped(reason));
        }
    }

    fn publish(&self) {
        if let Some(stats) = self.stats.get(self.place) {
            stats.set_stream(&self.account, self.rtp_latch.source(), self.unused);
        }
    }

    fn on_rtcp(&mut self, datagram: &[u8], from: SocketAddr, now: Duration) {
        let source = TransportAddress::new(from);
        let (Some(session), [first, second, ..]) = (&self.session, datagram) else {
            return;
        };
        if datagram.len() < rtcp::MIN_LEN || !rtcp::is_rtcp(*first, *second) || source.is_none() {
            return;
        }
        let (signalled, owner) = (session.remote_rtcp.into(), self.rtp_latch.source());
        match self.rtcp_latch.on_rtcp(session.latch, signalled, owner, source) {
            Admission::Owner | Admission::NewOwner => {}
            Admission::Probation | Admission::Stranger => return,
        }
        let now_ns = self.clock.monotonic_ns(now);
        self.reporter.on_packet(&mut self.keys.reports, datagram, now_ns);
        if let Some(stats) = self.stats.get(self.place) {
            stats.set_heard(&self.keys);
        }
    }

    /// `None` for a packet that is of no use.
    fn admit<'a>(&mut self, datagram: &'a [u8], from: SocketAddr, now: Duration) -> Option<Arrived<'a>> {
        let session = self.session.as_ref()?;
        let header = RtpHeader::parse(datagram)?;
        let payload = media(datagram)?;
        let carries = match header.payload_type() {
            event if session.telephone_event.is_some_and(|agreed| agreed.receive == event) => Carries::Event,
            audio if audio == session.receive_payload_type => Carries::Audio { ticks_a_byte: 1 },
            COMFORT_NOISE => Carries::Noise,
            _ => return None,
        };
        let source = TransportAddress::new(from);
        if source.is_none() {
            return None;
        }
        let signalled = session.remote_rtp.into();
        let bytes = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        let now_ns = self.clock.monotonic_ns(now);
        let (police, bucket_ns) = &mut self.police;
        match self.rtp_latch.on_rtp(session.latch, signalled, source, &header) {
            Admission::Owner if !police.admits(bucket_ns, bytes, now_ns) => {
                self.on_dropped(DropReason::Policed);
                return None;
            }
            // The packet that shows where media comes from counts, however fast somebody else was sending before.
            Admission::Owner | Admission::NewOwner => {}
            Admission::Probation | Admission::Stranger => return None,
        }
        let tick = Tick::of_rate(session.codec.clock_rate());
        self.account.on_packet(&header, bytes, now_ns, tick);
        let heard = receives(session.direction) && payload.len() <= MAX_AUDIO;
        heard.then_some(Arrived {
            header,
            carries,
            payload,
        })
    }

    /// What is sent in the frame that is due at `due` leaves [`LEAD`] after that to the microsecond, if the leg is paced and the
    /// way out has a queue that keeps departure times.
    pub(super) fn pace(&mut self, due: Duration) {
        let is_paced = |session: &Session| session.pacing != Pacing::Off;
        let departs = self.session.as_ref().is_some_and(is_paced);
        let departs = departs.then(|| self.clock.monotonic_ns(due + LEAD));
        self.ports.leave_at(departs);
    }

    /// Sends what is due in `frame` of the grid: a key that is pressed, else the next audio, else silence.
    ///
    /// `next` fills a frame with audio of the leg's codec.
    pub(super) fn send(
        &mut self,
        frame: u64,
        next: impl FnOnce(&mut [u8]) -> Sound,
        keys: &mut dtmf::Sender,
        now: Duration,
    ) {
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
        let sound = next(&mut self.frame);
        if !sending {
            return;
        }
        let key = event.and_then(|event| Some((event.send, keys.next(timestamp)?)));
        let packet = match key {
            Some((payload_type, key)) => self
                .packetizer
                .event(payload_type, key.marker, key.timestamp, &key.payload),
            None => self
                .packetizer
                .audio(frame, session.send_payload_type, sound, &self.frame),
        };
        if let Some(to) = destination(&self.rtp_latch, session.remote_rtp) {
            // A packet the system does not take is lost, as on the way.
            self.ports.send(Kind::Rtp, Kind::Rtp, packet, to);
        }
        self.sent(now);
    }

    /// Sends a packet that is not of the grid, at its own media time; nothing where nothing may be sent.
    pub(in crate::worker) fn send_at(&mut self, timestamp: u32, marker: Marker, content: Content<'_>, now: Duration) {
        let Some(session) = self.session.as_ref().filter(|session| sends(session.direction)) else {
            return;
        };
        let (payload_type, payload) = match (content, session.telephone_event) {
            (Content::Audio(audio), _) => (session.send_payload_type, audio),
            (Content::Key(key), Some(event)) => (event.send, &key[..]),
            (Content::Key(_), None) => return,
        };
        let packet = self.packetizer.at(payload_type, marker, timestamp, payload);
        if let Some(to) = destination(&self.rtp_latch, session.remote_rtp) {
            // A packet the system does not take is lost, as on the way.
            self.ports.send(Kind::Rtp, Kind::Rtp, packet, to);
        }
        self.sent(now);
        if self.reporter.is_due(now) {
            self.send_report(timestamp, Goes::On, now);
        }
    }

    /// The media time of what is sent now, after a pause: as much after the last packet as time has gone by, in whole
    /// packet times.
    pub(in crate::worker) fn resumed(&mut self, ptime: u8, now: Duration) -> u32 {
        let now_ns = self.clock.monotonic_ns(now);
        self.packetizer.resumed(ptime, now_ns)
    }

    fn sent(&mut self, now: Duration) {
        self.packetizer.sent_at(self.clock.monotonic_ns(now));
        if let Some(stats) = self.stats.get(self.place) {
            stats.set_sent(self.packetizer.packets());
        }
    }

    /// Reports, if a report is due; `frame` is that of the grid. On hold, too (RFC 3264 section 8.4).
    pub(super) fn report(&mut self, frame: u64, now: Duration) {
        if self.session.is_some() && self.reporter.is_due(now) {
            self.send_report(self.packetizer.timestamp(frame), Goes::On, now);
        }
    }

    /// Reports, if a report is overdue because nothing has been sent that it could have followed.
    pub(in crate::worker) fn report_idle(&mut self, now: Duration) {
        if self.session.is_some() && self.reporter.is_overdue(now) {
            self.send_report(self.packetizer.newest(), Goes::On, now);
        }
    }

    /// Tells the far end that the leg is over (RFC 3550 section 6.6), if it has ever been sent anything.
    pub(in crate::worker) fn leave(&mut self, now: Duration) {
        if self.packetizer.packets() > 0 {
            self.send_report(self.packetizer.newest(), Goes::Away, now);
        }
    }

    fn send_report(&mut self, timestamp: u32, goes: Goes, now: Duration) {
        let Some(session) = &self.session else { return };
        let Some(to) = destination(&self.rtcp_latch, session.remote_rtcp) else {
            return;
        };
        let sent = Sent {
            ssrc: self.packetizer.ssrc(),
            timestamp,
            packets: self.packetizer.packets(),
            octets: self.packetizer.octets(),
            at: SystemTime::now(),
        };
        let kind = match session.rtcp_port {
            RtcpPort::Shared => Kind::Rtp,
            RtcpPort::Own => Kind::Rtcp,
        };
        let now_ns = self.clock.monotonic_ns(now);
        let packet = self.reporter.write(&sent, &self.account, goes, now_ns);
        self.ports.send(Kind::Rtcp, kind, packet, to);
    }
}

/// Where packets have been found to come from, else where signalling said; `None` if neither can be sent to.
fn destination(latch: &Latch, signalled: SocketAddr) -> Option<SocketAddr> {
    let found = latch.source().get();
    found.or_else(|| TransportAddress::new(signalled).get())
}
