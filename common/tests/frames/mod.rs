//! Single frames and how they end: the way of a frame through the shared code, as the XDP program has it, over a table of
//! a few flows. Shared by the test of the corpus and the fuzz target `frame`.

pub mod corpus;

use std::net::SocketAddr;

use voxlane_common::account::Tick;
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::flow::{
    Beside, Events, Flow, FlowKind, FlowSpec, FlowState, Forwarding, PayloadRewrite, PayloadTypes, RtcpPort,
};
use voxlane_common::frame;
use voxlane_common::latch::LatchMode;
use voxlane_common::outcome::PassReason;
use voxlane_common::pace::Pacing;
use voxlane_common::police::Police;
use voxlane_common::ports::{PortMap, Unallocated};
use voxlane_common::relay::{PacketView, Verdict, decide};
use voxlane_common::rtp::Head;
use voxlane_common::sockets::WorkerId;
use voxlane_common::splice::Continuity;

/// How a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Passed(PassReason),
    Dropped(DropReason),
    SentOn,
}

/// Ports of ours, even ones for RTP: a plain call; one with a strict latch; one on hold, spliced, paced and with rtcp-mux; a
/// worker's. The others are nobody's.
pub const PLAIN: u16 = 10_000;
pub const STRICT: u16 = 10_002;
pub const HELD: u16 = 10_004;
pub const WORKER: u16 = 10_006;
pub const NOBODYS: u16 = 10_008;

/// Where media is expected from.
pub const FAR_END: [&str; 2] = ["192.0.2.9:4000", "[2001:db8::9]:4000"];

/// Our addresses.
pub const OURS: [&str; 2] = ["192.0.2.1:0", "[2001:db8::1]:0"];

/// The flow table.
pub struct Table {
    ports: PortMap,
    flows: Vec<(Flow, FlowState)>,
}

impl Table {
    pub fn new() -> Self {
        let mut ports = PortMap::new(PLAIN, NOBODYS + 1, Unallocated::Drop);
        for address in OURS {
            ports.add(address.parse::<SocketAddr>().unwrap().ip());
        }
        let nobodys = (Flow::default(), FlowState::default());
        let mut table = Self {
            flows: vec![nobodys; ports.entries() as usize],
            ports,
        };
        for (address, far_end) in OURS.into_iter().zip(FAR_END) {
            let (address, far_end): (SocketAddr, SocketAddr) = (address.parse().unwrap(), far_end.parse().unwrap());
            for port in [PLAIN, STRICT, HELD, WORKER] {
                for (above, kind) in [(0, FlowKind::Rtp), (1, FlowKind::Rtcp)] {
                    let local = SocketAddr::new(address.ip(), port + above);
                    let far_end = SocketAddr::new(far_end.ip(), far_end.port() + above);
                    let index = table.ports.index(local.into()).unwrap();
                    table.flows[index as usize].0 = Flow::new(&spec(port, kind, local, far_end));
                }
            }
        }
        table
    }

    /// The way of a frame, once it has arrived.
    pub fn judge(&mut self, frame: &[u8], now_ns: u64) -> Ending {
        let datagram = match frame::datagram(frame) {
            Ok(datagram) => datagram,
            Err(reason) => return Ending::Passed(reason),
        };
        let end = datagram.payload_offset + datagram.length as usize;
        let payload = frame.get(datagram.payload_offset..end).expect("it lies in the frame");
        let Some(index) = self.ports.index(datagram.local) else {
            return Ending::Passed(PassReason::OtherPort);
        };
        let mut view = PacketView::new(datagram.source, payload);
        let head = frame::head(frame, &datagram);
        // As far as the decision may look, the frame and the payload alone say the same.
        let seen = match payload.len() {
            0..8 => 0,
            8..12 => 8,
            _ => 12,
        };
        let bytes = |head: Head| head.map(u32::to_ne_bytes).concat();
        assert_eq!(bytes(head)[..seen], bytes(view.head)[..seen]);
        view.head = head;
        let index = match view.is_rtcp_on(&self.flows[index as usize].0) {
            true => self.ports.rtcp_beside(index) as usize,
            false => index as usize,
        };
        let beside = match self.flows[index].0.kind() {
            FlowKind::Rtcp => {
                let rtp = self.ports.rtp_beside(index as u32) as usize;
                self.flows[rtp].1.beside(&self.flows[index].0)
            }
            FlowKind::Rtp | FlowKind::Worker => Beside::NOTHING,
        };
        let (flow, state) = &mut self.flows[index];
        match decide(flow, state, &view.beside(beside), now_ns).verdict {
            Verdict::NoFlow => Ending::Dropped(DropReason::Unallocated),
            Verdict::Worker => Ending::Passed(PassReason::Worker),
            Verdict::Drop(reason) => Ending::Dropped(reason),
            Verdict::Forward(_) => Ending::SentOn,
        }
    }
}

fn spec(port: u16, kind: FlowKind, local: SocketAddr, far_end: SocketAddr) -> FlowSpec {
    let plain = FlowSpec {
        kind,
        signalled: TransportAddress::new(far_end),
        outgoing: TransportAddress::new(local),
        destination: TransportAddress::new(far_end),
        payload_types: PayloadTypes::of([0, 101]),
        rewrites: [PayloadRewrite::default(), PayloadRewrite { from: 101, to: 96 }],
        events: Events::Second,
        tick: Tick::of_rate(8000),
        ptime: 20,
        forwarding: Forwarding::On,
        latch: LatchMode::Nat,
        police: Police::of_rtp(20, 8),
        ..FlowSpec::of_worker(1, WorkerId::NONE)
    };
    match port {
        WORKER => FlowSpec::of_worker(1, WorkerId::NONE),
        STRICT => FlowSpec {
            latch: LatchMode::Strict,
            ..plain
        },
        HELD => FlowSpec {
            latch: LatchMode::Open,
            rtcp_port: RtcpPort::Shared,
            continuity: Continuity::Spliced,
            pacing: Pacing::Always,
            forwarding: match kind {
                FlowKind::Rtcp => Forwarding::On,
                FlowKind::Rtp | FlowKind::Worker => Forwarding::Held,
            },
            ..plain
        },
        _ => plain,
    }
}
