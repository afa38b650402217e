//! A relayed pair whose legs differ in codec or packet time: what arrives at one is sent from the other as that one has
//! agreed to hear it.
//!
//! Each leg is a [`Line`], as of an agent: it judges what arrives and hears keys; `order` says what belongs where, `conceal`
//! makes up what was lost. What the leg is to be sent goes through its `outlet`; it is coded in a `coder` that all bridges share, many calls at once. The streams that leave are the gateway's own: one SSRC each, sequence
//! numbers without a gap, reports both ways.

mod coder;
mod conceal;
mod order;
mod outlet;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use mio::Registry;
use voxlane_common::police::Police;
use voxlane_common::splice::{Continuity, SentStream};

pub(super) use self::coder::Coder;
use self::coder::Piece;
use self::order::Sequencer;
pub(super) use self::outlet::TICK_MS;
use self::outlet::{Key, Outlet, Sink};
use super::clock::Clock;
use super::command::{Left, NewRelay, Parted, Parting, RelayLeg};
use super::leg::{Arrived, Content, Line, Marker};
use super::opening::Opened;
use super::ports::{Kind, Ports};
use super::relay::{Side, Taking};
use super::stats::LegStats;
use super::wire::Wire;
use crate::cache::{Nearness, ask_for};
use crate::dtmf::Press;
use crate::flows::{LegState, Policing, Rules, sends};
use crate::media_plane::{EndpointId, MediaEvent, Session};
use crate::reception::{Inserted, Kind as Carries};

/// One leg.
struct Leg {
    endpoint: EndpointId,
    line: Line,
    session: Session,
    /// The order of what arrives.
    order: Sequencer,
    /// What it is to be sent.
    outlet: Outlet,
}

/// A pair.
pub(super) struct Bridge {
    legs: [Leg; 2],
    rules: Rules,
    stats: Arc<[LegStats]>,
    events: Sender<MediaEvent>,
    taking: Taking,
    /// Its place on the grid.
    slot: usize,
}

/// A line, at a time.
struct Outgoing<'a> {
    line: &'a mut Line,
    now: Duration,
}

impl Sink for Outgoing<'_> {
    fn resumed(&mut self, ptime: u8) -> u32 {
        self.line.resumed(ptime, self.now)
    }

    fn send(&mut self, timestamp: u32, marker: Marker, content: Content<'_>) {
        self.line.send_at(timestamp, marker, content, self.now);
    }
}

impl Bridge {
    /// A bridge that carries media at once; it is due every [`TICK_MS`] milliseconds.
    pub(super) fn new(
        pair: NewRelay,
        stats: Arc<[LegStats]>,
        clock: Clock,
        events: Sender<MediaEvent>,
        slot: usize,
        now: Duration,
        wire: &Wire,
    ) -> io::Result<Self> {
        let [a, b] = pair.legs;
        let codecs = [a.session.codec, b.session.codec];
        let left = pair.states.map(Left::of_pair);
        let leg = |place: usize, leg: RelayLeg| {
            let [from, to] = [codecs[1 - place], codecs[place]];
            let ptime = leg.session.ptime;
            let mut line = Line::new(
                Ports::new(leg.sockets, wire)?,
                ptime,
                Arc::clone(&stats),
                place,
                clock,
                now,
            );
            if let Some(left) = left {
                line.take_up(left[place]);
            }
            line.set_police(police(pair.rules, &leg.session));
            line.set_session(leg.session.clone());
            Ok::<_, io::Error>(Leg {
                endpoint: leg.endpoint,
                line,
                session: leg.session,
                order: Sequencer::default(),
                outlet: Outlet::new(from, to, ptime),
            })
        };
        Ok(Self {
            legs: [leg(0, a)?, leg(1, b)?],
            rules: pair.rules,
            stats,
            events,
            taking: Taking::On,
            slot,
        })
    }

    /// The endpoints of its legs.
    pub(super) fn endpoints(&self) -> [EndpointId; 2] {
        self.legs.each_ref().map(|leg| leg.endpoint)
    }

    /// Its place on the grid.
    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// The sockets of both legs.
    pub(super) fn ports_mut(&mut self) -> [&mut Ports; 2] {
        self.legs.each_mut().map(|leg| leg.line.ports_mut())
    }

    /// The sockets of one leg.
    pub(super) fn ports(&self, side: Side) -> &Ports {
        self.legs[side.index()].line.ports()
    }

    /// Changes what was agreed.
    pub(super) fn set_sessions(&mut self, sessions: [Session; 2]) {
        let codecs = sessions.each_ref().map(|session| session.codec);
        let directions = |sessions: [&Session; 2]| sessions.map(|session| session.direction);
        let before = directions(self.legs.each_ref().map(|leg| &leg.session));
        let held = before != directions(sessions.each_ref());
        for (place, (leg, session)) in self.legs.iter_mut().zip(sessions).enumerate() {
            leg.outlet.set(codecs[1 - place], codecs[place], session.ptime);
            if held {
                leg.outlet.interrupt();
            }
            leg.line.set_police(police(self.rules, &session));
            leg.line.set_session(session.clone());
            leg.session = session;
        }
    }

    /// Leaves packets in the sockets from now on, and sends what waits; what is known of the legs.
    pub(super) fn pause(&mut self, now: Duration) -> [LegState; 2] {
        self.taking = Taking::Paused;
        for Leg { line, outlet, .. } in &mut self.legs {
            outlet.flush(&mut Outgoing { line, now });
        }
        self.states()
    }

    /// Takes packets again.
    pub(super) fn resume(&mut self) {
        self.taking = Taking::On;
    }

    /// Whether packets are to be left in the sockets.
    pub(super) fn is_paused(&self) -> bool {
        self.taking == Taking::Paused
    }

    /// Ends it; what is known of the legs, and their sockets. If it is over, the far ends are told (RFC 3550 section 6.6).
    pub(super) fn part(mut self, parting: Parting, registry: &Registry, now: Duration) -> Parted {
        let mut states = self.pause(now);
        if parting == Parting::Over {
            self.legs.iter_mut().for_each(|leg| leg.line.leave(now));
            // What has said goodbye is not heard of again.
            states
                .iter_mut()
                .for_each(|state| state.rtp.sent = SentStream::default());
        }
        let sockets = self.legs.map(|leg| leg.line.into_ports().into_sockets(registry));
        Parted { states, sockets }
    }

    /// Ends it; what another makes of it that is to go on.
    pub(super) fn dismantle(self, registry: &Registry, now: Duration) -> (NewRelay, Arc<[LegStats]>) {
        let (rules, stats) = (self.rules, Arc::clone(&self.stats));
        let known = self.legs.each_ref().map(|leg| (leg.endpoint, leg.session.clone()));
        let Parted { states, sockets } = self.part(Parting::GoesOn, registry, now);
        let ([a, b], [sockets_a, sockets_b]) = (known, sockets);
        let legs = [(a, sockets_a), (b, sockets_b)].map(|((endpoint, session), sockets)| RelayLeg {
            endpoint,
            sockets,
            session,
            // What a leg was sent was one stream, and stays one.
            continuity: Continuity::Spliced,
        });
        let pair = NewRelay {
            legs,
            rules,
            states: Some(states),
        };
        (pair, stats)
    }

    fn states(&self) -> [LegState; 2] {
        Left::paired(self.legs.each_ref().map(|leg| leg.line.left().unwrap_or_default()))
    }

    /// A packet that arrived at `side` is about to be handled.
    pub(super) fn expect_packet(&self, side: Side, nearness: Nearness) {
        let (here, there) = (&self.legs[side.index()], &self.legs[1 - side.index()]);
        if nearness == Nearness::Near {
            ask_for(&self.taking);
            ask_for(&here.order);
            ask_for(&there.session.direction);
        }
        here.line.expect_packet(nearness);
        there.outlet.expect_audio(nearness);
    }

    /// What there is to code is about to be asked for.
    pub(super) fn expect_coding(&self, nearness: Nearness) {
        for leg in &self.legs {
            leg.outlet.expect_coding(nearness);
        }
    }

    /// A tick is about to come.
    pub(super) fn expect_tick(&self, nearness: Nearness) {
        for leg in &self.legs {
            if nearness == Nearness::Near {
                ask_for(&leg.endpoint);
            }
            leg.line.expect_sending(nearness);
            leg.outlet.expect_tick(nearness);
        }
    }

    /// Handles one datagram that arrived at `side`.
    pub(super) fn on_datagram(&mut self, side: Side, kind: Kind, opened: Opened<'_>, from: SocketAddr, now: Duration) {
        let [a, b] = &mut self.legs;
        let (here, there) = match side {
            Side::A => (a, b),
            Side::B => (b, a),
        };
        let Some(datagram) = here.line.opened(opened) else {
            return;
        };
        let Some(Arrived {
            header,
            carries,
            payload,
        }) = here.line.on_datagram(kind, datagram, from, now)
        else {
            return;
        };
        match carries {
            Carries::Audio { .. } => {
                let samples = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                let Ok(gap) = here.order.on_audio(&header, samples) else {
                    return here.line.on_inserted(Inserted::Late);
                };
                if sends(there.session.direction) {
                    there.outlet.push(gap, payload);
                }
            }
            Carries::Event => {
                if here.order.on_other(&header).is_err() {
                    return here.line.on_inserted(Inserted::Late);
                }
                if let Some(payload) = payload.first_chunk() {
                    let key = Key {
                        began: header.timestamp(),
                        payload: *payload,
                    };
                    let line = &mut there.line;
                    there.outlet.on_key(&key, &mut Outgoing { line, now });
                }
                let endpoint = here.endpoint;
                if let Some(press) = here.line.on_event(&header, payload, now) {
                    self.tell(endpoint, press);
                }
            }
            Carries::Noise => {
                if here.order.on_other(&header).is_err() {
                    return here.line.on_inserted(Inserted::Late);
                }
                if sends(there.session.direction) {
                    there.outlet.on_noise(payload);
                }
            }
        }
    }

    /// What is to be coded for one of its legs, if anything is. It is to be taken back before anything else happens.
    fn give(&mut self, place: usize) -> Option<Piece> {
        self.legs[place].outlet.give()
    }

    /// What was given, coded.
    fn take_back(&mut self, place: usize, piece: Piece) {
        self.legs[place].outlet.take_back(piece);
    }

    /// A tick has passed.
    pub(super) fn on_due(&mut self, now: Duration) {
        for place in [0, 1] {
            let leg = &mut self.legs[place];
            let endpoint = leg.endpoint;
            if let Some(press) = leg.line.lost_end(now) {
                self.tell(endpoint, press);
            }
            if self.taking == Taking::On {
                let Leg { line, outlet, .. } = &mut self.legs[place];
                outlet.tick(&mut Outgoing { line, now });
            }
            self.legs[place].line.report_idle(now);
        }
    }

    fn tell(&self, endpoint: EndpointId, press: Press) {
        // Without a reader nobody minds.
        let _ = self.events.send(MediaEvent::Digit {
            endpoint,
            digit: press.digit,
            duration: press.duration,
        });
    }
}

/// How fast a leg's media may come, as in the kernel.
fn police(rules: Rules, session: &Session) -> Police {
    match rules.police {
        Policing::On => Police::of_rtp(session.ptime, session.codec.bytes_a_millisecond()),
        Policing::Off => Police::OFF,
    }
}
