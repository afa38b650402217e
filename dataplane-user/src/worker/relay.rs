//! A relayed pair of legs: what arrives at one is sent on from the other.
//!
//! Every packet is judged by [`voxlane_common::relay`], as in the kernel lane; this module only moves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use mio::Registry;
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::event::EventKind;
use voxlane_common::flow::{Flow, FlowState};
use voxlane_common::relay::{Forward, PacketView, Verdict, decide};
use voxlane_common::rtp::{self, RtpHeader};
use voxlane_common::splice::Continuity;

use super::clock::Clock;
use super::command::{NewRelay, Parted, RelayLeg};
use super::opening::Opened;
use super::ports::{Kind, Ports};
use super::stats::LegStats;
use super::wire::Wire;
use crate::dtmf;
use crate::flows::{self, Heard, Leg, LegState, Rules};
use crate::media_plane::{EndpointId, MediaEvent, Session};

/// The sockets are new, and so are the flows: there is no earlier call to be told from.
const GENERATION: u32 = 1;

/// One of the two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its place among the two.
    pub(super) fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// What arrives at one leg, by what it is.
#[derive(Default)]
struct Half {
    flow: Flow,
    state: FlowState,
}

/// A pair.
pub(super) struct RelayPair {
    endpoints: [EndpointId; 2],
    ports: [Ports; 2],
    rtp: [Half; 2],
    rtcp: [Half; 2],
    sessions: [Session; 2],
    continuity: [Continuity; 2],
    rules: Rules,
    epoch: u32,
    stats: Arc<[LegStats]>,
    clock: Clock,
    events: Sender<MediaEvent>,
    heard: [Heard; 2],
    taking: Taking,
    /// When another was told what was known of the pair, and has had what arrives since.
    handed_over: Option<Duration>,
}

/// Whether packets are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    On,
    /// The pair is being handed over: packets wait in the sockets.
    Paused,
}

impl RelayPair {
    /// A pair that relays at once.
    pub(super) fn new(
        pair: NewRelay,
        stats: Arc<[LegStats]>,
        clock: Clock,
        events: Sender<MediaEvent>,
        wire: &Wire,
    ) -> io::Result<Self> {
        let [a, b] = pair.legs;
        let mut relay = Self {
            endpoints: [a.endpoint, b.endpoint],
            ports: [Ports::new(a.sockets, wire)?, Ports::new(b.sockets, wire)?],
            rtp: Default::default(),
            rtcp: Default::default(),
            heard: Default::default(),
            sessions: [a.session, b.session],
            continuity: [a.continuity, b.continuity],
            rules: pair.rules,
            epoch: 0,
            stats,
            clock,
            events,
            taking: Taking::On,
            handed_over: None,
        };
        relay.program();
        for (side, state) in pair.states.into_iter().flatten().enumerate() {
            relay.rtp[side].state = state.rtp.moved_to(&relay.rtp[side].flow);
            relay.rtcp[side].state = state.rtcp.moved_to(&relay.rtcp[side].flow);
            relay.heard[side] = state.heard;
            relay.stats[side].begin(&state.heard);
        }
        for side in [Side::A, Side::B] {
            relay.publish(side);
        }
        Ok(relay)
    }

    /// The endpoints of its legs.
    pub(super) fn endpoints(&self) -> [EndpointId; 2] {
        self.endpoints
    }

    /// Changes what was agreed. If a leg has moved, the latches open again.
    pub(super) fn set_sessions(&mut self, sessions: [Session; 2]) {
        let addresses = |sessions: &[Session; 2]| {
            let [a, b] = sessions;
            [a, b].map(|session| (session.remote_rtp, session.remote_rtcp))
        };
        if addresses(&sessions) != addresses(&self.sessions) {
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.sessions = sessions;
        self.program();
    }

    /// Leaves packets in the sockets from now on; what is known of the legs.
    pub(super) fn pause(&mut self, now: Duration) -> [LegState; 2] {
        self.taking = Taking::Paused;
        self.handed_over = Some(now);
        self.states()
    }

    /// Takes packets again: nobody else has it.
    pub(super) fn resume(&mut self) {
        self.taking = Taking::On;
        self.handed_over = None;
    }

    /// Takes what has waited in the sockets; another has what comes now.
    pub(super) fn end_pause(&mut self) {
        self.taking = Taking::On;
    }

    /// Whether a packet that has waited while the pair was handed over would begin a source's part of the stream that is sent to
    /// `there`, so late that another may have begun it with the next one. It is left out: two beginnings would give
    /// two packets one number.
    fn begins_late(&self, datagram: &[u8], [here, there]: [usize; 2], now: Duration) -> bool {
        let ptime = Duration::from_millis(self.sessions[here].ptime.into());
        let is_late = self.handed_over.is_some_and(|at| now.saturating_sub(at) >= ptime);
        is_late
            && self.continuity[there] == Continuity::Spliced
            && RtpHeader::parse(datagram).is_some_and(|header| !self.rtp[here].state.sent.has_joined(header.ssrc()))
    }

    /// Whether packets are to be left in the sockets.
    pub(super) fn is_paused(&self) -> bool {
        self.taking == Taking::Paused
    }

    /// Ends it; what is known of the legs, and their sockets.
    pub(super) fn part(mut self, registry: &Registry) -> Parted {
        Parted {
            states: self.states(),
            sockets: self.ports.map(|ports| ports.into_sockets(registry)),
        }
    }

    /// Ends it; what another makes of it that is to go on.
    pub(super) fn dismantle(self, registry: &Registry) -> (NewRelay, Arc<[LegStats]>) {
        let (endpoints, sessions, continuity) = (self.endpoints, self.sessions.clone(), self.continuity);
        let (rules, stats) = (self.rules, Arc::clone(&self.stats));
        let Parted { states, sockets } = self.part(registry);
        let ([session_a, session_b], [sockets_a, sockets_b]) = (sessions, sockets);
        let leg = |side: Side, session, sockets| RelayLeg {
            endpoint: endpoints[side.index()],
            sockets,
            session,
            continuity: continuity[side.index()],
        };
        let pair = NewRelay {
            legs: [leg(Side::A, session_a, sockets_a), leg(Side::B, session_b, sockets_b)],
            rules,
            states: Some(states),
        };
        (pair, stats)
    }

    /// What is known of the legs, without what signalling has made void since their last packets.
    fn states(&mut self) -> [LegState; 2] {
        for side in [Side::A, Side::B] {
            self.ports[side.index()].flush();
            self.take_back_unsent(side);
        }
        let entered = |half: &Half| {
            let mut state = half.state;
            state.enter(&half.flow);
            state
        };
        [0, 1].map(|side| LegState {
            rtp: entered(&self.rtp[side]),
            rtcp: entered(&self.rtcp[side]),
            heard: Heard {
                datagrams: self.stats[side].userspace_packets(),
                ..self.heard[side]
            },
        })
    }

    /// What the system refused to send to one leg, after it had been taken, was dropped.
    fn take_back_unsent(&mut self, to: Side) {
        let (ports, from) = (&self.ports[to.index()], to.other());
        let halves = [(Kind::Rtp, &mut self.rtp), (Kind::Rtcp, &mut self.rtcp)];
        let mut unsent = 0;
        for (kind, halves) in halves {
            let state = &mut halves[from.index()].state;
            let count = ports.take_unsent(kind);
            for _ in 0..count {
                state.on_not_forwarded(DropReason::NoRoute);
            }
            unsent += count;
        }
        if unsent > 0 {
            self.publish(from);
        }
    }

    fn program(&mut self) {
        let now = self.clock.now();
        for (index, session) in self.sessions.iter().enumerate() {
            self.ports[index].set_keys(session.srtp.as_ref(), now);
            self.stats[index].set_refused(&self.ports[index].refused());
        }
        let [a, b] = &self.ports;
        let [session_a, session_b] = &self.sessions;
        let [continuity_a, continuity_b] = self.continuity;
        let legs =
            [(a, session_a, continuity_a), (b, session_b, continuity_b)].map(|(ports, session, continuity)| Leg {
                local_rtp: ports.local_rtp(),
                session,
                continuity,
            });
        let specs = flows::of_pair(legs, self.rules, GENERATION, self.epoch);
        for (index, specs) in specs.iter().enumerate() {
            self.rtp[index].flow = Flow::new(&specs.rtp);
            self.rtcp[index].flow = Flow::new(&specs.rtcp);
        }
    }

    /// The sockets of both legs.
    pub(super) fn ports_mut(&mut self) -> &mut [Ports; 2] {
        &mut self.ports
    }

    /// The socket of one leg.
    pub(super) fn ports(&self, side: Side) -> &Ports {
        &self.ports[side.index()]
    }

    /// Handles one datagram that arrived at `side`.
    pub(super) fn on_datagram(
        &mut self,
        side: Side,
        kind: Kind,
        Opened { buffer, length }: Opened<'_>,
        from: SocketAddr,
        now: Duration,
    ) {
        let (here, there) = (side.index(), side.other().index());
        self.take_back_unsent(side.other());
        self.stats[here].on_received();
        self.poll_keys(now);
        let Ok(length) = length else {
            self.publish_refused(here);
            return;
        };
        let datagram = &mut buffer[..length];
        let view = PacketView::new(TransportAddress::new(from), datagram);
        let kind = match kind {
            Kind::Rtp if view.is_rtcp_on(&self.rtp[here].flow) => Kind::Rtcp,
            kind => kind,
        };
        let beside = self.rtp[here].state.beside(&self.rtcp[here].flow);
        let begins_late = self.begins_late(datagram, [here, there], now);
        let halves = match kind {
            Kind::Rtp => &mut self.rtp,
            Kind::Rtcp => &mut self.rtcp,
        };
        if view.source.is_none() {
            halves[here].state.on_dropped(DropReason::WrongSource);
        } else {
            let now_ns = self.clock.monotonic_ns(now);
            let left_out = kind == Kind::Rtp && begins_late;
            let Half { flow, state } = &mut halves[here];
            let sent = left_out.then_some(state.sent);
            let decision = decide(flow, state, &view.beside(beside), now_ns);
            if let Some(sent) = sent {
                state.sent = sent;
            }
            if !decision.found.is_none() {
                let flow = *flow;
                halves[there].state.peer_found(&flow, decision.found);
            }
            // Before its header is the other leg's.
            if let Some(copy) = decision.copy {
                self.hear(side, copy, datagram, now_ns);
            }
            let state = match kind {
                Kind::Rtp => &mut self.rtp[here].state,
                Kind::Rtcp => &mut self.rtcp[here].state,
            };
            match decision.verdict {
                Verdict::Forward(_) if left_out => state.on_dropped(DropReason::Held),
                // Counted by the decision, or nobody's.
                Verdict::Drop(_) | Verdict::NoFlow | Verdict::Worker => {}
                Verdict::Forward(forward) => match send(&self.ports[there], kind, &forward, (buffer, length)) {
                    Ok(()) => state.on_forwarded(),
                    Err(NotSent::Dropped(reason)) => state.on_dropped(reason),
                    Err(NotSent::Refused) => self.publish_refused(there),
                },
            }
        }
        self.publish(side);
    }

    /// Looks into what the kernel lane would have copied.
    fn hear(&mut self, side: Side, copy: EventKind, datagram: &[u8], now_ns: u64) {
        let (here, there) = (side.index(), side.other().index());
        let press = match copy {
            EventKind::Rtcp => {
                let other = self.heard[there].reports;
                self.heard[here].reports.on_packet(&other, datagram, now_ns);
                None
            }
            EventKind::TelephoneEvent | EventKind::Found => self.heard[here].on_event_packet(datagram, now_ns),
        };
        self.tell(here, press);
    }

    /// Tells of presses whose end was lost.
    fn poll_keys(&mut self, now: Duration) {
        let now_ns = self.clock.monotonic_ns(now);
        for here in [0, 1] {
            if let Some(press) = self.heard[here].on_time(now_ns) {
                self.tell(here, Some(press));
            }
        }
    }

    fn tell(&self, here: usize, press: Option<dtmf::Press>) {
        self.stats[here].set_heard(&self.heard[here]);
        if let Some(press) = press {
            // Without a reader nobody minds.
            let _ = self.events.send(MediaEvent::Digit {
                endpoint: self.endpoints[here],
                digit: press.digit,
                duration: press.duration,
            });
        }
    }

    /// What SRTP has refused on a leg's wire, of what arrived and of what was to be sent.
    fn publish_refused(&self, index: usize) {
        self.stats[index].set_refused(&self.ports[index].refused());
    }

    fn publish(&self, side: Side) {
        let (rtp, rtcp) = (&self.rtp[side.index()].state, &self.rtcp[side.index()].state);
        let stats = &self.stats[side.index()];
        stats.set_stream(&rtp.account, rtp.latch.source(), rtp.dropped_in_all());
        stats.set_drops(|reason| rtp.dropped(reason) + rtcp.dropped(reason));
        self.stats[side.other().index()].set_sent(rtp.forwarded);
    }
}

/// Why a packet was not sent.
enum NotSent {
    Dropped(DropReason),
    /// By SRTP, which has counted it.
    Refused,
}

fn send(
    ports: &Ports,
    kind: Kind,
    forward: &Forward,
    (buffer, datagram_length): (&mut [u8], usize),
) -> Result<(), NotSent> {
    let dropped = NotSent::Dropped;
    let destination = forward.headers.destination.get();
    let destination = destination.ok_or(dropped(DropReason::NoDestination))?;
    let length = match kind {
        Kind::Rtp => rtp::HEADER_LEN,
        Kind::Rtcp => voxlane_common::rtcp::MIN_LEN,
    };
    // The decision forwards nothing shorter than that.
    let head = buffer.get_mut(..length.min(datagram_length));
    let head = head
        .filter(|head| head.len() == length)
        .ok_or(dropped(DropReason::TooShort))?;
    head.copy_from_slice(&bytemuck::bytes_of(&forward.head)[..length]);
    // Of a leg on which RTP and RTCP share a port, both leave by it.
    let by = if forward.headers.source == TransportAddress::new(ports.local_rtp()) {
        Kind::Rtp
    } else {
        kind
    };
    match ports.send_in_place((kind, by), (buffer, datagram_length), destination) {
        Ok(true) => Ok(()),
        Ok(false) => Err(dropped(DropReason::NoRoute)),
        Err(_) => Err(NotSent::Refused),
    }
}
