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
use voxlane_dataplane::srtp::{Keying, Kind, MAX_OVERHEAD, Outbound, SrtpKeys, Suite};
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

/// What the calls are.
#[derive(Clone, Copy)]
pub struct Calls {
    /// How many run at once.
    pub count: u16,
    /// Of the callees; callers have PCMU.
    pub codec: Codec,
    /// Of all legs, with keys of their own.
    pub srtp: Option<Suite>,
}

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
    ends: Vec<End>,
}

/// One end of a call.
struct End {
    addresses: Addresses,
    /// What it sends, before SRTP.
    packet: Vec<u8>,
    frame: Vec<u8>,
    srtp: Option<Outbound>,
}

/// Whence and where to frames go.
#[derive(Clone, Copy)]
struct Addresses {
    hardware: [[u8; 6]; 2],
    from: SocketAddr,
    to: SocketAddr,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let plane = self.plane.take();
        self.namespace.run(move || drop(plane));
    }
}

/// What packets of these calls cost the worker.
pub fn measure(io: IoChoice, calls: Calls) -> Result<Cost> {
    // The worker is on the last core there is. The far ends are to have another, if there is one.
    thread::scope(|scope| {
        let measured = scope.spawn(|| {
            leave_the_last_core()?;
            let mut bed = Bed::new(io, calls)?;
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
    fn new(io: IoChoice, calls: Calls) -> Result<Self> {
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
                ends: Vec::new(),
            },
        };
        for call in 0..calls.count {
            bed.add_call(&plane, call, calls)?;
        }
        Ok(bed)
    }

    fn add_call(&mut self, plane: &Arc<Plane>, call: u16, calls: Calls) -> Result<()> {
        let mut ids = Vec::new();
        for (side, codec) in [Codec::Pcmu, calls.codec].into_iter().enumerate() {
            let net = side + 1;
            let far: SocketAddr = format!("10.200.{net}.9:{}", FAR_PORT + 2 * call).parse()?;
            let ip = format!("10.200.{net}.1").parse()?;
            let keys = calls.srtp.map(|suite| SrtpKeys {
                receive: Keying::random(suite, None),
                send: Keying::random(suite, None),
            });
            let srtp = keys.as_ref().and_then(|keys| Outbound::new(&keys.receive));
            let opened = {
                let plane = Arc::clone(plane);
                self.namespace.run(move || {
                    let endpoint = plane.open(ip)?;
                    plane.program(endpoint.id, session(codec, keys, far))?;
                    Ok::<_, anyhow::Error>(endpoint)
                })?
            };
            ids.push(opened.id);
            let addresses = Addresses {
                hardware: [FAR[side], self.wires.near[side]],
                from: far,
                to: opened.rtp,
            };
            let packet = packet(codec, u32::try_from(self.wires.ends.len())?);
            self.wires.ends.push(End {
                addresses,
                frame: frame(addresses, &packet)?,
                packet,
                srtp,
            });
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

/// A packet of UDP over IPv4 in a frame.
fn frame(addresses: Addresses, packet: &[u8]) -> Result<Vec<u8>> {
    let Addresses { hardware, from, to } = addresses;
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        anyhow::bail!("{from} and {to} are not both of IPv4");
    };
    let builder = PacketBuilder::ethernet2(hardware[0], hardware[1])
        .ipv4(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port());
    let mut frame = Vec::with_capacity(builder.size(packet.len()));
    builder.write(&mut frame, packet)?;
    Ok(frame)
}

impl Ends for Wires {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn send(&mut self, place: usize, number: u32) -> Result<()> {
        let End {
            addresses,
            packet,
            frame,
            srtp,
        } = &mut self.ends[place];
        set_number(packet, number);
        match srtp {
            None => renumber(frame, number),
            Some(srtp) => {
                let mut buffer = [0; 172 + MAX_OVERHEAD];
                buffer[..packet.len()].copy_from_slice(packet);
                let length = srtp.protect(Kind::Rtp, &mut buffer, packet.len())?;
                *frame = self::frame(*addresses, &buffer[..length])?;
            }
        }
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

/// Gives the packet in a frame another number, which changes its checksum (RFC 1624).
fn renumber(frame: &mut [u8], number: u32) {
    let checksum = u16::from_be_bytes([frame[CHECKSUM.start], frame[CHECKSUM.start + 1]]);
    let before = sum(&frame[HEADERS..HEADERS + 8]);
    set_number(&mut frame[HEADERS..], number);
    // Four words have changed: what is taken away is less than that many times all bits.
    let mut now = u32::from(!checksum) + 4 * 0xffff - before + sum(&frame[HEADERS..HEADERS + 8]);
    while now > 0xffff {
        now = (now & 0xffff) + (now >> 16);
    }
    frame[CHECKSUM].copy_from_slice(&(!(now as u16)).to_be_bytes());
}

/// Of words of 16 bits.
fn sum(bytes: &[u8]) -> u32 {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}
