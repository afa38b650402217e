//! What the relay is measured in: interfaces, neighbours, a kernel lane with calls, and the lab's programs beside it.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use voxlane_common::outcome::Outcome;
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::kernel::lab::{Input, Lab, Program, capacity, lift_rates, map_memory, usual_leg};
use voxlane_dataplane::kernel::{KernelConfig, KernelLane, Leg, RelayPair};
use voxlane_dataplane::media_plane::{AttachPolicy, Unallocated};
use voxlane_tests::namespace::Namespace;

/// Repetitions of one test run, at least: some milliseconds.
const REPEAT: u32 = 50_000;

/// Packets a flow gets in one test run, at least. The first of them finds the flow pushed out of the caches by what ran
/// before; that must not weigh.
const PACKETS_A_FLOW: u32 = 40;

const FIRST_PORT: u16 = 10_000;

/// Where the callees of a bed are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callees {
    /// Behind the interface the callers are behind: the relay answers XDP_TX.
    Beside,
    /// Behind another one: XDP_REDIRECT.
    Across,
}

/// Interfaces `a<number>` and `b<number>`, whose neighbours are known beforehand.
#[derive(Clone, Copy)]
pub struct Site {
    number: u8,
    mac: [u8; 6],
    ifindex: u32,
}

impl Site {
    /// Makes the interfaces.
    pub fn new(namespace: &Namespace, number: u8) -> Self {
        namespace.sh(&format!(
            "ip link add a{number} type veth peer name c{number}
             ip link add b{number} type veth peer name d{number}
             ip addr add 10.{number}.1.1/24 dev a{number}
             ip addr add 10.{number}.1.101/32 dev a{number}
             ip addr add 10.{number}.1.102/32 dev a{number}
             ip addr add 10.{number}.2.1/24 dev b{number}
             ip link set a{number} up
             ip link set b{number} up
             ip link set c{number} up
             ip link set d{number} up
             ip neigh replace 10.{number}.1.8 lladdr 02:00:00:00:01:08 dev a{number}
             ip neigh replace 10.{number}.1.9 lladdr 02:00:00:00:01:09 dev a{number}
             ip neigh replace 10.{number}.2.9 lladdr 02:00:00:00:02:09 dev b{number}"
        ));
        // The ends of the circular call (see `Bed::circular`) are addresses of ours that packets leave the host for.
        for end in [101, 102] {
            namespace.sh(&format!(
                "ip route del table local local 10.{number}.1.{end} dev a{number}
                 ip route add 10.{number}.1.{end}/32 dev a{number}
                 ip neigh replace 10.{number}.1.{end} lladdr 02:00:00:00:01:ff dev a{number}"
            ));
        }
        let (mac, ifindex) = namespace.interface(&format!("a{number}"));
        Self { number, mac, ifindex }
    }

    fn end(self, net: u8, host: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, self.number, net, host), port)
    }
}

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// By itself, over and over on a packet of the circular call.
    Alone,
    /// After `spread`, on a packet of another flow each time.
    Spread,
}

/// A kernel lane with its calls.
pub struct Bed {
    lane: KernelLane,
    lab: Lab,
    ingress: u32,
    /// A packet of an ordinary call.
    frame: Vec<u8>,
    /// A packet of the circular call.
    circular: Vec<u8>,
    /// RTP flows that packets arrive on.
    flows: u32,
    /// Flows, RTP and RTCP, of all calls.
    live: u32,
    sent_by: Outcome,
    /// Frames the relay has been given.
    given: u64,
}

impl Bed {
    /// Programs calls of which as many RTP flows arrive through the callers' interface. To be called in the site's
    /// namespace.
    pub fn new(site: Site, flows: u32, callees: Callees) -> Result<Self> {
        let calls = match callees {
            Callees::Beside => flows / 2,
            Callees::Across => flows,
        };
        let port = |number: u32| u16::try_from(u32::from(FIRST_PORT) + 2 * number).context("too many flows");
        let config = KernelConfig {
            interfaces: vec![format!("a{}", site.number), format!("b{}", site.number)],
            policy: AttachPolicy::Native,
            addresses: vec![],
            first_port: FIRST_PORT,
            last_port: port(2 * calls + 1)? + 1,
            unallocated: Unallocated::Drop,
            rules: Rules::default(),
            pin: None,
        };
        let lane = KernelLane::start(&config, |_| {})?;
        let mut ends = Vec::new();
        for call in 0..calls {
            let (one, other) = (port(2 * call)?, port(2 * call + 1)?);
            let caller = (site.end(1, 9, one), site.end(1, 1, one));
            let callee = match callees {
                Callees::Beside => (site.end(1, 8, other), site.end(1, 1, other)),
                Callees::Across => (site.end(2, 9, other), site.end(2, 1, other)),
            };
            lane.program(&RelayPair(leg(caller), leg(callee)), None)?;
            ends.push(caller);
            if callees == Callees::Beside {
                ends.push(callee);
            }
        }
        let circular = circular(site, port(2 * calls)?, port(2 * calls + 1)?);
        lane.program(&RelayPair(leg(circular), leg((circular.1, circular.0))), None)?;
        lift_rates(&lane)?;

        let first = *ends.first().context("no flow")?;
        let frame = frame(site.mac, first)?;
        Ok(Self {
            lab: Lab::load(&frame, &ends)?,
            lane,
            ingress: site.ifindex,
            frame,
            circular: self::frame(site.mac, circular)?,
            flows,
            live: 4 * (calls + 1),
            sent_by: match callees {
                Callees::Beside => Outcome::Reflected,
                Callees::Across => Outcome::Redirected,
            },
            given: 0,
        })
    }

    /// Nanoseconds a program takes for a packet.
    pub fn run(&mut self, run: Run, program: Program) -> Result<f64> {
        let input = Input {
            frame: match run {
                Run::Alone => &self.circular,
                Run::Spread => &self.frame,
            },
            ingress: self.ingress,
            repeat: REPEAT.max(PACKETS_A_FLOW * self.flows),
        };
        if program == Program::Relay {
            self.given += u64::from(input.repeat);
        }
        let result = match run {
            Run::Alone => self.lab.alone(&self.lane, program, input),
            Run::Spread => self.lab.spread(&self.lane, program, input),
        };
        // The kernel tells whole nanoseconds, rounded down.
        Ok(result?.duration.as_nanos() as f64 + 0.5)
    }

    /// Checks that the relay has sent on every packet it was given: what is dropped costs less.
    pub fn check(&self) -> Result<()> {
        for (outcome, count) in self.lane.counters() {
            let expected = if outcome == self.sent_by { self.given } else { 0 };
            ensure!(count == expected, "{}: {count} packets, not {expected}", outcome.name());
        }
        Ok(())
    }

    /// Bytes of map memory, for each flow there is room for and for each there is.
    pub fn map_memory(&self) -> Result<(f64, f64)> {
        let bytes = map_memory(&self.lane)? as f64;
        Ok((bytes / f64::from(capacity(&self.lane)), bytes / f64::from(self.live)))
    }
}

/// A call whose packets are relayed to where they came in: what the second leg sends and where to is what the first
/// receives and from where. So a frame comes out as it went in, but for what the relay sets the same in every frame.
fn circular(site: Site, one: u16, other: u16) -> (SocketAddrV4, SocketAddrV4) {
    (site.end(1, 102, other), site.end(1, 101, one))
}

/// A leg by its far end and our address.
fn leg((remote, local): (SocketAddrV4, SocketAddrV4)) -> Leg {
    usual_leg(local, remote)
}

/// 20 ms of PCMU.
fn frame(mac: [u8; 6], (from, to): (SocketAddrV4, SocketAddrV4)) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 1, 9], mac)
        .ipv4(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port());
    let mut payload = vec![0x80, 0, 0, 1, 0, 0, 0, 160, 0x12, 0x34, 0x56, 0x78];
    payload.resize(172, 0xff);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, &payload)?;
    Ok(frame)
}
