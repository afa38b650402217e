//! The relay as a userspace program would be: the shared decision, and its own idea of everything around it.

use std::collections::HashMap;
use std::net::SocketAddr;

use proptest::prelude::*;
use voxlane_common::account::Tick;
use voxlane_common::flow::{
    Beside, Events, Flow, FlowKind, FlowSpec, FlowState, Forwarding, Mirror, PayloadRewrite, PayloadTypes, RtcpPort,
};
use voxlane_common::latch::LatchMode;
use voxlane_common::next_hop::NextHopId;
use voxlane_common::pace::Pacing;
use voxlane_common::police::Police;
use voxlane_common::relay::{PacketView, Verdict, decide};
use voxlane_common::splice::Continuity;
use voxlane_dataplane::kernel::{Leg, RelayPair};
use voxlane_dataplane::media_plane::{Direction, TelephoneEvent};

use crate::kernel_support::{Call, above, leg};
use crate::packets::{Port, Side};

/// Packet time. How long the test takes from packet to packet is far below half of it, so that a spliced stream goes on by
/// one packet time whichever clock it is measured with.
const PTIME: u8 = 200;

/// What was agreed for one leg.
#[derive(Clone, Copy, Debug)]
pub struct LegTerms {
    latch: LatchMode,
    rtcp_port: RtcpPort,
    continuity: Continuity,
    direction: Direction,
    event: Option<u8>,
}

/// What was agreed for a call.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    caller: LegTerms,
    callee: LegTerms,
}

pub fn terms() -> impl Strategy<Value = Terms> {
    let leg = || {
        let latch = prop::sample::select(vec![LatchMode::Nat, LatchMode::Nat, LatchMode::Strict, LatchMode::Open]);
        let rtcp_port = prop::sample::select(vec![RtcpPort::Own, RtcpPort::Shared]);
        let continuity = prop::sample::select(vec![Continuity::Transparent, Continuity::Spliced]);
        let direction = prop_oneof![
            6 => Just(Direction::SendRecv),
            1 => Just(Direction::SendOnly),
            1 => Just(Direction::RecvOnly),
            1 => Just(Direction::Inactive),
        ];
        let event = prop::sample::select(vec![Some(101), Some(96), None]);
        (latch, rtcp_port, continuity, direction, event).prop_map(|(latch, rtcp_port, continuity, direction, event)| {
            LegTerms {
                latch,
                rtcp_port,
                continuity,
                direction,
                event,
            }
        })
    };
    (leg(), leg()).prop_map(|(caller, callee)| Terms { caller, callee })
}

impl Terms {
    /// The call as it is programmed.
    pub fn pair(&self, call: &Call) -> RelayPair {
        let leg = |local, remote, terms: &LegTerms| {
            let mut leg: Leg = leg(local, remote, 0);
            leg.continuity = terms.continuity;
            let session = &mut leg.session;
            session.remote_rtcp = terms.rtcp_of(remote);
            session.rtcp_port = terms.rtcp_port;
            session.latch = terms.latch;
            session.direction = terms.direction;
            session.ptime = PTIME;
            session.telephone_event = terms.event.map(|event| TelephoneEvent {
                send: event,
                receive: event,
            });
            leg
        };
        RelayPair(
            leg(call.caller_side, call.caller, &self.caller),
            leg(call.callee_side, call.callee, &self.callee),
        )
    }

    /// The leg a packet comes from and the one it goes to.
    fn legs(&self, side: Side) -> [&LegTerms; 2] {
        match side {
            Side::Caller => [&self.caller, &self.callee],
            Side::Callee => [&self.callee, &self.caller],
        }
    }
}

impl LegTerms {
    /// Where the reports of an end whose RTP has this address come from and go to.
    fn rtcp_of(&self, rtp: SocketAddr) -> SocketAddr {
        match self.rtcp_port {
            RtcpPort::Own => above(rtp),
            RtcpPort::Shared => rtp,
        }
    }

    fn receives(&self) -> bool {
        matches!(self.direction, Direction::SendRecv | Direction::RecvOnly)
    }

    fn sends(&self) -> bool {
        matches!(self.direction, Direction::SendRecv | Direction::SendOnly)
    }
}

/// The far end and our address of the leg a packet comes from, and our address and the far end of the other.
pub fn ends(call: &Call, side: Side) -> [SocketAddr; 4] {
    match side {
        Side::Caller => [call.caller, call.caller_side, call.callee_side, call.callee],
        Side::Callee => [call.callee, call.callee_side, call.caller_side, call.caller],
    }
}

fn spec(call: &Call, terms: &Terms, side: Side, port: Port) -> FlowSpec {
    let [from, _, outgoing, to] = ends(call, side);
    let [here, there] = terms.legs(side);
    let events = here.event.zip(there.event);
    let media = FlowSpec {
        generation: 77,
        epoch: 5,
        kind: FlowKind::Rtp,
        signalled: from.into(),
        outgoing: outgoing.into(),
        destination: to.into(),
        next_hop: NextHopId::UNKNOWN,
        payload_types: PayloadTypes::of([0, 13].into_iter().chain(events.map(|(here, _)| here))),
        rewrites: [
            PayloadRewrite::default(),
            events.map_or(PayloadRewrite::default(), |(from, to)| PayloadRewrite { from, to }),
        ],
        events: events.map_or(Events::None, |_| Events::Second),
        tick: Tick::of_rate(8000),
        ptime: PTIME,
        forwarding: if here.receives() && there.sends() {
            Forwarding::On
        } else {
            Forwarding::Held
        },
        latch: here.latch,
        rtcp_port: here.rtcp_port,
        continuity: there.continuity,
        pacing: Pacing::Off,
        // Tests of their own hold the police to account.
        police: Police::OFF,
        mirror: Mirror::Off,
        tos: 0xb8,
        peer: 0,
    };
    match port {
        Port::Rtp => media,
        Port::Rtcp => FlowSpec {
            kind: FlowKind::Rtcp,
            signalled: here.rtcp_of(from).into(),
            outgoing: there.rtcp_of(outgoing).into(),
            destination: there.rtcp_of(to).into(),
            forwarding: Forwarding::On,
            ..media
        },
    }
}

/// The four flows of a call.
pub struct Oracle {
    flows: HashMap<(Side, Port), (Flow, FlowState)>,
}

impl Oracle {
    pub fn new(call: &Call, terms: &Terms) -> Self {
        let sides = [Side::Caller, Side::Callee];
        let keys = sides
            .into_iter()
            .flat_map(|side| [(side, Port::Rtp), (side, Port::Rtcp)]);
        let flow = |(side, port)| Flow::new(&spec(call, terms, side, port));
        Self {
            flows: keys.map(|key| (key, (flow(key), FlowState::default()))).collect(),
        }
    }

    pub fn state(&self, side: Side, port: Port) -> &FlowState {
        &self.flows[&(side, port)].1
    }

    /// The verdict about a packet that arrives at a port of a leg, and which kind of flow has judged it.
    pub fn verdict(
        &mut self,
        (side, port): (Side, Port),
        source: SocketAddr,
        payload: &[u8],
        now: u64,
    ) -> (Verdict, Port) {
        let view = PacketView::new(source.into(), payload);
        let port = if view.is_rtcp_on(&self.flows[&(side, port)].0) {
            Port::Rtcp
        } else {
            port
        };
        let beside = match port {
            Port::Rtp => Beside::NOTHING,
            Port::Rtcp => self.state(side, Port::Rtp).beside(&self.flows[&(side, port)].0),
        };
        let (flow, state) = self.flows.get_mut(&(side, port)).unwrap();
        let decision = decide(flow, state, &view.beside(beside), now);
        let flow = *flow;
        if let Verdict::Forward(_) = decision.verdict {
            state.on_forwarded();
        }
        if !decision.found.is_none() {
            let other = match side {
                Side::Caller => Side::Callee,
                Side::Callee => Side::Caller,
            };
            let (_, peer) = self.flows.get_mut(&(other, port)).unwrap();
            peer.peer_found(&flow, decision.found);
        }
        (decision.verdict, port)
    }
}
