//! What the worker tests share: a far end with real sockets, and sessions that lead to it.

#![allow(dead_code, reason = "each test crate uses a part")]

pub mod bot;
pub mod listener;
pub mod secured;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{Direction, LatchMode, Pacing, RtcpPort, Session, TelephoneEvent};
use voxlane_dataplane::worker::Sockets;

/// Long enough for any machine: only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Telephone-event's payload type, as the far end sees it.
pub const EVENT: u8 = 101;

/// A port pair that was free when it was asked for.
pub fn sockets() -> (Sockets, SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut rtp = probe.local_addr().unwrap();
        rtp.set_port(rtp.port() & !1);
        drop(probe);
        match Sockets::bind(rtp, 0xb8) {
            Ok(sockets) => return (sockets, rtp),
            Err(error) => assert!(Instant::now() < deadline, "no free port pair: {error}"),
        }
    }
}

/// The RTCP address that belongs to an RTP address.
pub fn rtcp_of(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

/// The far end of a leg.
pub struct Phone {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Where the gateway receives.
    pub gateway: SocketAddr,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Phone {
    pub fn new(gateway: SocketAddr) -> Self {
        let (sockets, _) = sockets();
        for socket in [&sockets.rtp, &sockets.rtcp] {
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self {
            rtp: sockets.rtp,
            rtcp: sockets.rtcp,
            gateway,
            ssrc: 0x0102_0304,
            sequence: 65_530,
            timestamp: 1000,
        }
    }

    pub fn rtp_address(&self) -> SocketAddr {
        self.rtp.local_addr().unwrap()
    }

    /// What the gateway agrees with this phone.
    pub fn session(&self) -> Session {
        Session {
            remote_rtp: self.rtp_address(),
            remote_rtcp: self.rtcp.local_addr().unwrap(),
            rtcp_port: RtcpPort::Own,
            codec: Codec::Pcmu,
            send_payload_type: 0,
            receive_payload_type: 0,
            telephone_event: Some(TelephoneEvent {
                send: EVENT,
                receive: EVENT,
            }),
            ptime: 20,
            direction: Direction::SendRecv,
            latch: LatchMode::Nat,
            pacing: Pacing::Off,
            srtp: None,
        }
    }

    /// Sends the next packet, and returns it.
    pub fn send(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.send_at(self.timestamp, payload_type, payload)
    }

    /// Sends the next packet with a timestamp of its own, and returns it.
    pub fn send_at(&mut self, timestamp: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let packet = self.packet(timestamp, payload_type, payload);
        self.send_raw(&packet);
        packet
    }

    /// The next packet is lost.
    pub fn skip(&mut self) {
        self.hold_back(0, &[]);
    }

    /// The next packet, which is not sent.
    pub fn hold_back(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.packet(self.timestamp, payload_type, payload)
    }

    /// Sends a packet as it is.
    pub fn send_raw(&self, packet: &[u8]) {
        self.rtp.send_to(packet, self.gateway).unwrap();
    }

    fn packet(&mut self, timestamp: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        packet
    }

    /// Sends these bytes to the RTP port.
    pub fn send_bytes(&self, packet: &[u8]) {
        self.rtp.send_to(packet, self.gateway).unwrap();
    }

    pub fn send_rtcp(&self, packet: &[u8]) {
        self.rtcp.send_to(packet, rtcp_of(self.gateway)).unwrap();
    }

    /// The next RTP packet that arrives, and where from.
    pub fn receive(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.rtp)
    }

    /// The next RTP packet, if it arrives at once.
    pub fn try_receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        self.rtp.set_nonblocking(true).unwrap();
        let received = self.rtp.recv(&mut buffer);
        self.rtp.set_nonblocking(false).unwrap();
        received.ok().map(|length| buffer[..length].to_vec())
    }

    pub fn receive_rtcp(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.rtcp)
    }

    /// Reads reports until one says that the stream of this packet has ended (RFC 3550 section 6.6); that report.
    pub fn goodbye_of(&self, media: &[u8]) -> Vec<u8> {
        loop {
            let (report, _) = self.receive_rtcp();
            if report.ends_with(&[&[0x81, 203, 0, 1], &media[8..12]].concat()) {
                return report;
            }
        }
    }
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => return (buffer[..length].to_vec(), from),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("nothing arrived: {error}"),
        }
    }
}

/// Asks again until the answer is yes.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
