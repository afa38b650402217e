//! A whole data plane in a namespace, between a caller's network and a callee's.
//!
//! The wire of each interface is a descriptor in the hands of whoever is the far ends ([`Tap`]). So what the far ends do
//! (their network stacks, as much as there is of them, and the kernel's part in receiving, which is done where the sender of a
//! packet runs) is done on their core, as on a machine of their own. What the worker's core does to send a packet it does,
//! down to the queue of the interface, where a network card would take it from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use crossbeam_channel::unbounded;
use etherparse::PacketBuilder;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{AttachPolicy, MediaPlane as _};
use voxlane_dataplane::plane::{IoChoice, KernelChoice, Plane, PlaneConfig};
use voxlane_tests::namespace::Namespace;

use crate::calls::{self, Cost, Ends, is_report, packet, session, set_number};
use crate::tap::Tap;

/// Frames that the queue of an interface holds: those of some packet times.
const QUEUE: usize = 10_000;

/// The ports of the gateway.
const PORTS: (u16, u16) = (10_000, 19_999);

/// The port of the first far end of either network; every other one is that of the next.
const FAR_PORT: u16 = 4000;

/// Hardware addresses of the far ends.
const FAR: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 9], [2, 0, 0, 0, 2, 9]];

/// What is before the payload of a frame, and where its parts stand.
const HEADERS: usize = 14 + 20 + 8;
const DESTINATION_PORT: std::ops::Range<usize> = 36..38;
const CHECKSUM: std::ops::Range<usize> = 40..42;

/// A gateway with calls.
struct Bed {
    namespace: Namespace,
    plane: Option<Arc<Plane>>,
    wires: Wires,
}

/// The far ends of all its calls.
struct Wires {
    taps: [Tap; 2],
    /// Hardware addresses of the interfaces.
    near: [[u8; 6]; 2],
    frames: Vec<Vec<u8>>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let plane = self.plane.take();
        self.namespace.run(move || drop(plane));
    }
}

/// What packets of so many calls cost the worker, one end of each in PCMU, the other in `codec`.
pub fn measure(io: IoChoice, codec: Codec, calls: u16) -> Result<Cost> {
    // The worker is on the last core there is. The far ends are to have another, if there is one.
    thread::scope(|scope| {
        let measured = scope.spawn(|| {
            leave_the_last_core()?;
            let mut bed = Bed::new(io, codec, calls)?;
            calls::measure(&mut bed.wires)
        });
        measured
            .join()
            .map_err(|_| anyhow::anyhow!("the far ends have panicked"))?
    })
}

/// Keeps this thread, and those it starts, off the last core it may run on.
fn leave_the_last_core() -> Result<()> {
    let mut cores = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|core| cores.is_set(*core));
    if let Some(last) = last.filter(|_| cores.count() > 1) {
        cores.unset(last);
        sched_setaffinity(None, &cores)?;
    }
    Ok(())
}

impl Bed {
    fn new(io: IoChoice, codec: Codec, calls: u16) -> Result<Self> {
        let namespace = Namespace::new();
        let taps = namespace.run(|| Ok::<_, std::io::Error>([Tap::new("g0")?, Tap::new("g1")?]));
        let taps = taps.context("cannot make interfaces")?;
        for (number, far) in FAR.iter().enumerate() {
            let net = number + 1;
            let far = far.map(|octet| format!("{octet:02x}")).join(":");
            namespace.sh(&format!(
                "ip link set g{number} txqueuelen {QUEUE}
                 ip addr add 10.200.{net}.1/24 dev g{number}
                 ip link set g{number} up
                 ip neigh replace 10.200.{net}.9 lladdr {far} dev g{number}"
            ));
        }
        let near = ["g0", "g1"].map(|name| namespace.interface(name).0);
        let (events, _told) = unbounded();
        let config = PlaneConfig {
            io,
            kernel: KernelChoice::On {
                policy: AttachPolicy::Auto,
                interfaces: vec!["g0".to_owned(), "g1".to_owned()],
            },
            ..PlaneConfig::with_ports(PORTS.0, PORTS.1)
        };
        let plane = namespace.run(move || Plane::start(config, events))?;
        let mut bed = Self {
            namespace,
            plane: Some(Arc::clone(&plane)),
            wires: Wires {
                taps,
                near,
                frames: Vec::new(),
            },
        };
        for call in 0..calls {
            bed.add_call(&plane, call, codec)?;
        }
        Ok(bed)
    }

    fn add_call(&mut self, plane: &Arc<Plane>, call: u16, codec: Codec) -> Result<()> {
        let mut ids = Vec::new();
        for (side, codec) in [Codec::Pcmu, codec].into_iter().enumerate() {
            let net = side + 1;
            let far: SocketAddr = format!("10.200.{net}.9:{}", FAR_PORT + 2 * call).parse()?;
            let ip = format!("10.200.{net}.1").parse()?;
            let opened = {
                let plane = Arc::clone(plane);
                self.namespace.run(move || {
                    let endpoint = plane.open(ip)?;
                    plane.program(endpoint.id, session(codec, far))?;
                    Ok::<_, anyhow::Error>(endpoint)
                })?
            };
            ids.push(opened.id);
            let near = self.wires.near[side];
            let ssrc = u32::try_from(self.wires.frames.len())?;
            self.wires
                .frames
                .push(frame([FAR[side], near], far, opened.rtp, &packet(codec, ssrc))?);
        }
        let plane = Arc::clone(plane);
        let lane = self.namespace.run(move || {
            plane.relay(ids[0], ids[1])?;
            plane.prefer(ids[0], Lane::Worker)
        })?;
        ensure!(lane == Lane::Worker, "a call is not in the worker lane");
        Ok(())
    }
}

/// A packet of UDP over IPv4 in a frame, without its checksum.
fn frame([from_mac, to_mac]: [[u8; 6]; 2], from: SocketAddr, to: SocketAddr, packet: &[u8]) -> Result<Vec<u8>> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        anyhow::bail!("{from} and {to} are not both of IPv4");
    };
    let builder = PacketBuilder::ethernet2(from_mac, to_mac)
        .ipv4(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port());
    let mut frame = Vec::with_capacity(builder.size(packet.len()));
    builder.write(&mut frame, packet)?;
    Ok(frame)
}

impl Ends for Wires {
    fn count(&self) -> usize {
        self.frames.len()
    }

    fn send(&mut self, place: usize, number: u32) -> Result<()> {
        let frame = &mut self.frames[place];
        let before = sum(&frame[HEADERS..HEADERS + 8]);
        set_number(&mut frame[HEADERS..], number);
        // What has changed changes the checksum (RFC 1624).
        let checksum = u16::from_be_bytes([frame[CHECKSUM.start], frame[CHECKSUM.start + 1]]);
        let mut now = u32::from(!checksum) + 8 * 0xffff - before + sum(&frame[HEADERS..HEADERS + 8]);
        while now > 0xffff {
            now = (now & 0xffff) + (now >> 16);
        }
        frame[CHECKSUM].copy_from_slice(&(!(now as u16)).to_be_bytes());
        Ok(self.taps[place % 2].write(frame)?)
    }

    fn receive(&mut self, mut came: impl FnMut(usize)) -> Result<()> {
        let mut frame = [0; 2048];
        for (side, tap) in self.taps.iter().enumerate() {
            while let Some(length) = tap.read(&mut frame)? {
                let frame = &frame[..length];
                // The system itself may speak by an interface, and a report is not media.
                if length <= HEADERS || frame[12..14] != [8, 0] || is_report(&frame[HEADERS..]) {
                    continue;
                }
                let port = u16::from_be_bytes([frame[DESTINATION_PORT.start], frame[DESTINATION_PORT.start + 1]]);
                if let Some(call) = port.checked_sub(FAR_PORT) {
                    came(usize::from(call / 2) * 2 + side);
                }
            }
        }
        Ok(())
    }
}

/// Of words of 16 bits.
fn sum(bytes: &[u8]) -> u32 {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}
