//! The plane as the control plane uses it, without a kernel lane, over real loopback sockets on ports the system chose.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::lane::{Lane, Reason};
use voxlane_dataplane::media_plane::{
    AgentSpec, Direction, Endpoint, LatchMode, MediaError, MediaEvent, MediaPlane, Pacing, RtcpPort, Session,
};
use voxlane_dataplane::plane::{Plane, PlaneConfig, Policing, Rules};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DEADLINE: Duration = Duration::from_secs(20);

/// A plane on one address, without a kernel lane.
fn config(address: IpAddr, (first_port, last_port): (u16, u16)) -> PlaneConfig {
    PlaneConfig {
        addresses: vec![address],
        // Tests send as fast as they can.
        rules: Rules {
            police: Policing::Off,
            ..Rules::default()
        },
        ..PlaneConfig::with_ports(first_port, last_port)
    }
}

/// A plane with room for `pairs` calls, in a range of ports that was free a moment ago.
fn plane(pairs: u16) -> (Arc<Plane>, Receiver<MediaEvent>) {
    let probe = UdpSocket::bind((LOCAL, 0)).unwrap();
    let first = (probe.local_addr().unwrap().port() & !1).min(u16::MAX - 2 * pairs - 1);
    drop(probe);
    let (events, told) = unbounded();
    let config = config(LOCAL, (first, first + 2 * pairs - 1));
    (Plane::start(config, events).unwrap(), told)
}

/// The far end of a leg.
struct Far(UdpSocket);

impl Far {
    fn new() -> Self {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self(socket)
    }

    fn session(&self, codec: Codec) -> Session {
        let remote_rtp = self.0.local_addr().unwrap();
        Session {
            remote_rtp,
            remote_rtcp: SocketAddr::new(remote_rtp.ip(), remote_rtp.port().wrapping_add(1)),
            rtcp_port: RtcpPort::Own,
            codec,
            send_payload_type: codec.payload_type(),
            receive_payload_type: codec.payload_type(),
            telephone_event: None,
            ptime: 20,
            direction: Direction::SendRecv,
            latch: LatchMode::Nat,
            pacing: Pacing::Off,
            srtp: None,
        }
    }

    /// Sends RTP to `to` until `heard` gets a packet whose first media byte is `mark`.
    fn send_until(&self, to: &Endpoint, mark: u8, heard: &Far) {
        let end = Instant::now() + DEADLINE;
        let mut packet = [mark; 172];
        let mut buffer = [0; 2048];
        for sequence in 0u16.. {
            assert!(Instant::now() < end, "nothing arrived");
            packet[..2].copy_from_slice(&[0x80, 0]);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&[1, 2, 3, mark]);
            self.0.send_to(&packet, to.rtp).unwrap();
            if matches!(heard.0.recv(&mut buffer), Ok(172)) && buffer[12] == mark {
                return;
            }
        }
    }
}

#[test]
fn a_call_is_relayed_both_ways_and_everything_goes_back() {
    let (plane, _told) = plane(2);
    let (a, b) = (plane.open(LOCAL).unwrap(), plane.open(LOCAL).unwrap());
    let (far_a, far_b) = (Far::new(), Far::new());
    assert!(matches!(plane.relay(a.id, b.id), Err(MediaError::NoSession(_))));
    plane.program(a.id, far_a.session(Codec::Pcmu)).unwrap();
    plane.program(b.id, far_b.session(Codec::Pcmu)).unwrap();
    assert_eq!(plane.relay(a.id, b.id).unwrap(), [Lane::Worker; 2]);
    far_a.send_until(&a, 7, &far_b);
    far_b.send_until(&b, 9, &far_a);

    // A re-INVITE from the second leg moves its media.
    let moved = Far::new();
    plane.program(b.id, moved.session(Codec::Pcmu)).unwrap();
    far_a.send_until(&a, 11, &moved);

    let flow = plane.flow(a.id).unwrap();
    assert_eq!((flow.lane, flow.reason), (Lane::Worker, Some(Reason::XdpOff)));
    assert_eq!(flow.forwarded_to, Some(moved.0.local_addr().unwrap()));
    assert!(flow.userspace_packets > 0);
    assert_eq!((plane.flows().len(), plane.status().ports_in_use), (2, 2));

    let report = plane.close(a.id).unwrap();
    assert!(report.flow.received.packets > 0 && report.flow.sent_packets > 0);
    assert!(plane.close(b.id).unwrap().flow.received.packets > 0);
    assert_eq!(plane.close(b.id), None);
    assert_eq!((plane.flows().len(), plane.status().ports_in_use), (0, 0));
    // The ports are free for others.
    UdpSocket::bind(a.rtp).unwrap();
    UdpSocket::bind(b.rtp).unwrap();
}

#[test]
fn legs_that_differ_are_joined_all_the_same_and_say_why_a_worker_has_them() {
    let (plane, _told) = plane(2);
    let (a, b) = (plane.open(LOCAL).unwrap(), plane.open(LOCAL).unwrap());
    let (far_a, far_b) = (Far::new(), Far::new());
    plane.program(a.id, far_a.session(Codec::Pcmu)).unwrap();
    plane.program(b.id, far_b.session(Codec::G722)).unwrap();
    assert_eq!(plane.relay(a.id, b.id).unwrap(), [Lane::Worker; 2]);
    let reasons = || [a.id, b.id].map(|id| plane.flow(id).unwrap().reason.unwrap());
    assert_eq!(reasons(), [Reason::Codec; 2]);

    // Re-INVITEs: another packet time, then nothing that differs.
    let slow = Session {
        ptime: 30,
        ..far_b.session(Codec::Pcmu)
    };
    plane.program(b.id, slow).unwrap();
    assert_eq!(reasons(), [Reason::Ptime; 2]);
    plane.program(b.id, far_b.session(Codec::Pcmu)).unwrap();
    assert_eq!(reasons(), [Reason::XdpOff; 2]);
    far_a.send_until(&a, 7, &far_b);
    assert!(plane.close(a.id).is_some() && plane.close(b.id).is_some());
    UdpSocket::bind(a.rtp).unwrap();
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let (plane, _told) = plane(2);
    let (a, b) = (plane.open(LOCAL).unwrap(), plane.open(LOCAL).unwrap());
    assert!(matches!(plane.open(LOCAL), Err(MediaError::NoPort { .. })));
    let elsewhere = "192.0.2.1".parse().unwrap();
    assert!(matches!(plane.open(elsewhere), Err(MediaError::NotLocal(_))));
    plane.program(a.id, Far::new().session(Codec::Pcmu)).unwrap();
    assert!(matches!(plane.relay(a.id, b.id), Err(MediaError::NoSession(_))));
    assert_eq!(plane.close(a.id), None, "nothing ever carried it");
    assert!(matches!(
        plane.program(a.id, Far::new().session(Codec::Pcmu)),
        Err(MediaError::Closed(_))
    ));
    assert!(matches!(
        plane.attach(a.id, AgentSpec::Echo),
        Err(MediaError::Closed(_))
    ));
    plane.close(b.id);
    assert_eq!(plane.status().ports_in_use, 0);
}

#[test]
fn an_agent_may_be_attached_before_the_session_is_known() {
    let (plane, told) = plane(1);
    let a = plane.open(LOCAL).unwrap();
    plane.attach(a.id, AgentSpec::Echo).unwrap();
    assert_eq!(told.recv_timeout(DEADLINE), Ok(MediaEvent::AgentReady(a.id)));
    let far = Far::new();
    plane.program(a.id, far.session(Codec::Pcmu)).unwrap();
    far.send_until(&a, 7, &far);
    let flow = plane.flow(a.id).unwrap();
    assert_eq!((flow.reason, flow.forwarded_to), (Some(Reason::Agent), None));
    assert!(plane.close(a.id).unwrap().flow.sent_packets > 0);
    UdpSocket::bind(a.rtp).unwrap();
}

#[test]
fn an_address_that_media_cannot_use_is_refused_at_the_start() {
    let config = config("192.0.2.1".parse().unwrap(), (10_000, 10_001));
    let error = Plane::start(config, unbounded().0).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("cannot use 192.0.2.1 for media"), "{error}");
}
