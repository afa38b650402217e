//! What it costs a worker to get packets and to send them on: by sockets of the network stack, and by AF_XDP.
//!
//! A whole data plane in a namespace relays calls in its worker lane between two others, over virtual interfaces: first
//! untouched, where a packet's way in and out is nearly all there is to do, then with SRTP on both legs, with keys of their
//! own, then between PCMU and G.722. What counts is the
//! time that the worker's thread was on its core, as the system counts it (`schedstat`), system calls included. The kernel's
//! part in receiving is done where the sender of a packet runs, in either way: so the time of the generator's thread is shown
//! beside it.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crossbeam_channel::unbounded;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{
    AttachPolicy, Direction, LatchMode, MediaPlane as _, Pacing, RtcpPort, Session, Unallocated,
};
use voxlane_dataplane::plane::{IoChoice, KernelChoice, Plane, PlaneConfig, Rules};
use voxlane_dataplane::reception::Limits;
use voxlane_dataplane::srtp::{Keying, Kind, MAX_OVERHEAD, Outbound, SrtpKeys, Suite};
use voxlane_tests::namespace::Namespace;

/// Calls that run at once: as many as one core can be the far ends of.
const CALLS: u16 = 250;

/// Packets each end sends before the measurement, and during it.
const WARM_UP: u32 = 50;
const MEASURED: u32 = 250;

const PTIME: Duration = Duration::from_millis(20);

/// Packets that may be lost for every thousand: the machine is shared with the generator.
const MAY_BE_LOST: u64 = 1;

/// One end of a call.
struct End {
    socket: UdpSocket,
    to: SocketAddr,
    packet: Vec<u8>,
    /// What protects what it sends, if it has SRTP.
    srtp: Option<Outbound>,
    received: u64,
}

/// What the calls are.
#[derive(Clone, Copy)]
struct Calls {
    name: &'static str,
    /// Of the callees; callers have PCMU.
    codec: Codec,
    /// Of all legs.
    srtp: Option<Suite>,
}

/// A gateway with calls.
struct Bed {
    gateway: Namespace,
    _others: [Namespace; 2],
    plane: Option<Arc<Plane>>,
    ends: Vec<End>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let plane = self.plane.take();
        self.gateway.run(move || drop(plane));
    }
}

/// Time on a core.
#[derive(Clone, Copy)]
struct Busy {
    worker: Duration,
    generator: Duration,
}

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let relayed = Calls {
        name: "relayed",
        codec: Codec::Pcmu,
        srtp: None,
    };
    let kinds = [
        relayed,
        Calls {
            name: "relayed from SRTP to SRTP (AES_CM_128_HMAC_SHA1_80)",
            srtp: Some(Suite::AesCm128HmacSha1Tag80),
            ..relayed
        },
        Calls {
            name: "relayed from SRTP to SRTP (AEAD_AES_128_GCM)",
            srtp: Some(Suite::AeadAes128Gcm),
            ..relayed
        },
        Calls {
            name: "transcoded",
            codec: Codec::G722,
            srtp: None,
        },
    ];
    for calls in kinds {
        let Calls { name, codec, srtp } = calls;
        let [sockets, express] = [IoChoice::Sockets, IoChoice::AfXdp].map(|io| packet(io, calls));
        let (sockets, express) = (sockets?, express?);
        let ns = |time: Duration| time.as_nanos() as f64;
        let row = |what: &str, time: Duration| Row::new(format!("packet {name} by a worker, {what}"), ns(time), "ns");
        report.add(row("by sockets", sockets.worker));
        let better = row("by AF_XDP, against sockets", express.worker).against(ns(sockets.worker));
        report.add(better.goal(Goal::AtMost(1.0)));
        let whole = |busy: Busy| busy.worker + busy.generator;
        let all = row(
            "by AF_XDP, with what the far ends cost, against sockets",
            whole(express),
        );
        report.add(all.against(ns(whole(sockets))));
        if codec == Codec::G722 || srtp.is_some() {
            let calls = |time: Duration| 1.0 / (100.0 * time.as_secs_f64());
            let name = format!("calls {name} a core by AF_XDP, against sockets ({CALLS} at once)");
            report.add(Row::new(name, calls(express.worker), "").against(calls(sockets.worker)));
        }
    }
    Ok(())
}

/// What one packet costs.
fn packet(io: IoChoice, calls: Calls) -> Result<Busy> {
    let mut bed = bed(io, calls)?;
    send(&mut bed.ends, 0..WARM_UP)?;
    let before = busy()?;
    send(&mut bed.ends, WARM_UP..WARM_UP + MEASURED)?;
    let after = busy()?;
    let quiet = Instant::now() + 10 * PTIME;
    while Instant::now() < quiet {
        receive(&mut bed.ends);
        thread::sleep(Duration::from_millis(1));
    }
    let sent = u64::from(WARM_UP + MEASURED);
    let missing: u64 = bed.ends.iter().map(|end| sent.saturating_sub(end.received)).sum();
    let packets = bed.ends.len() as u64 * sent;
    ensure!(
        missing * 1000 <= packets * MAY_BE_LOST,
        "{missing} of {packets} packets are missing: the machine was overloaded"
    );
    let packets = bed.ends.len() as u32 * MEASURED;
    Ok(Busy {
        worker: (after.worker - before.worker) / packets,
        generator: (after.generator - before.generator) / packets,
    })
}

fn bed(io: IoChoice, calls: Calls) -> Result<Bed> {
    let [gateway, caller, callee] = [(), (), ()].map(|()| Namespace::new());
    gateway.sh("ip link add g0 type veth peer name e0
         ip link add g1 type veth peer name e1");
    gateway.give("e0", &caller);
    gateway.give("e1", &callee);
    for (namespace, number) in [(&caller, 0), (&callee, 1)] {
        let net = number + 1;
        namespace.sh(&format!(
            "ethtool -K e{number} gro on tx off
             ip addr add 10.200.{net}.9/24 dev e{number}
             ip link set e{number} up"
        ));
        gateway.sh(&format!(
            "ip addr add 10.200.{net}.1/24 dev g{number}
             ip link set g{number} up"
        ));
        let (mac, _) = namespace.interface(&format!("e{number}"));
        let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
        gateway.sh(&format!("ip neigh replace 10.200.{net}.9 lladdr {mac} dev g{number}"));
    }
    let (events, _told) = unbounded();
    let config = PlaneConfig {
        addresses: vec![],
        first_port: 10_000,
        last_port: 19_999,
        ptime: 20,
        jitter: Limits::default(),
        worker_cores: None,
        io,
        kernel: KernelChoice::On {
            policy: AttachPolicy::Auto,
            interfaces: vec!["g0".to_owned(), "g1".to_owned()],
        },
        unallocated: Unallocated::Drop,
        rules: Rules::default(),
        pin: None,
    };
    let plane = gateway.run(move || Plane::start(config, events))?;
    let mut ends = Vec::new();
    for call in 0..CALLS {
        let legs = [(&caller, "10.200.1", Codec::Pcmu), (&callee, "10.200.2", calls.codec)];
        let mut ids = Vec::new();
        for (namespace, net, codec) in legs {
            let far: SocketAddr = format!("{net}.9:{}", 4000 + 2 * call).parse()?;
            let socket = namespace.run(move || UdpSocket::bind(far))?;
            socket.set_nonblocking(true)?;
            let ip = format!("{net}.1").parse()?;
            let keys = calls.srtp.map(|suite| SrtpKeys {
                receive: Keying::random(suite, None),
                send: Keying::random(suite, None),
            });
            let srtp = keys.as_ref().and_then(|keys| Outbound::new(&keys.receive));
            let opened = {
                let plane = Arc::clone(&plane);
                gateway.run(move || {
                    let endpoint = plane.open(ip)?;
                    plane.program(endpoint.id, session(codec, far, keys))?;
                    Ok::<_, anyhow::Error>(endpoint)
                })?
            };
            ids.push(opened.id);
            let mut packet = vec![0x80, codec.payload_type()];
            packet.extend([0; 6]);
            packet.extend((ends.len() as u32).to_be_bytes());
            packet.extend((0..160u32).map(|n| (n * 37 + 11) as u8));
            ends.push(End {
                socket,
                to: opened.rtp,
                packet,
                srtp,
                received: 0,
            });
        }
        let plane = Arc::clone(&plane);
        let lane = gateway.run(move || {
            plane.relay(ids[0], ids[1])?;
            plane.prefer(ids[0], Lane::Worker)
        })?;
        ensure!(lane == Lane::Worker, "a call is not in the worker lane");
    }
    Ok(Bed {
        gateway,
        _others: [caller, callee],
        plane: Some(plane),
        ends,
    })
}

fn session(codec: Codec, remote: SocketAddr, srtp: Option<SrtpKeys>) -> Session {
    Session {
        srtp,
        remote_rtp: remote,
        remote_rtcp: remote,
        rtcp_port: RtcpPort::Shared,
        codec,
        send_payload_type: codec.payload_type(),
        receive_payload_type: codec.payload_type(),
        telephone_event: None,
        ptime: 20,
        direction: Direction::SendRecv,
        latch: LatchMode::Strict,
        pacing: Pacing::Off,
    }
}

/// Every end sends one packet in each packet time, spread over it.
fn send(ends: &mut [End], numbers: std::ops::Range<u32>) -> Result<()> {
    let begin = Instant::now();
    let groups = PTIME.as_millis() as usize;
    for (time, number) in (0u32..).zip(numbers) {
        for group in 0..groups {
            let due = begin + PTIME * time + Duration::from_millis(group as u64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for end in ends.iter_mut().skip(group).step_by(groups) {
                end.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                end.packet[4..8].copy_from_slice(&(number * 160).to_be_bytes());
                let mut buffer = [0; 172 + MAX_OVERHEAD];
                let length = end.packet.len();
                buffer[..length].copy_from_slice(&end.packet);
                let length = match &mut end.srtp {
                    None => length,
                    Some(srtp) => srtp.protect(Kind::Rtp, &mut buffer, length)?,
                };
                end.socket.send_to(&buffer[..length], end.to)?;
            }
        }
        receive(ends);
    }
    Ok(())
}

fn receive(ends: &mut [End]) {
    let mut buffer = [0; 512];
    for end in ends {
        loop {
            match end.socket.recv(&mut buffer) {
                // A report is not media.
                Ok(length) if length > 1 && (200..=204).contains(&buffer[1]) => {}
                Ok(_) => end.received += 1,
                Err(_) => break,
            }
        }
    }
}

/// How long the worker's thread and this one were on a core so far.
fn busy() -> Result<Busy> {
    let time = |path: &std::path::Path| {
        let stat = fs::read_to_string(path.join("schedstat"))?;
        let nanoseconds = stat.split_whitespace().next().context("an empty schedstat")?;
        Ok::<_, anyhow::Error>(Duration::from_nanos(nanoseconds.parse()?))
    };
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == "media-0" {
            return Ok(Busy {
                worker: time(&path)?,
                generator: time(std::path::Path::new("/proc/thread-self"))?,
            });
        }
    }
    anyhow::bail!("no worker thread")
}
