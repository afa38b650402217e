//! Nothing is allocated on the way of a packet through a bridge once the call is up.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod allocation_support;
mod worker_support;

use std::net::UdpSocket;

use allocation_support::Turn;
use crossbeam_channel::unbounded;
use voxlane_common::splice::Continuity;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::media_plane::{EndpointId, Session};
use voxlane_dataplane::worker::{NewRelay, RelayLeg, Workers};
use worker_support::{PATIENCE, Phone, eventually, sockets};

/// Sends packets in their time and takes what comes of them.
fn talk(socket: &UdpSocket, phone: &Phone, other: &UdpSocket, packet: &mut [u8], numbers: std::ops::Range<u16>) {
    let mut buffer = [0; 512];
    for number in numbers {
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
        socket.send_to(packet, phone.gateway).unwrap();
        // What leaves sets the pace.
        other.recv(&mut buffer).unwrap();
    }
}

#[test]
fn a_transcoded_call_allocates_nothing() {
    let turn = Turn::wait();
    let (events, _told) = unbounded();
    let workers = Workers::start(None, 20, events).unwrap();
    let (sockets_a, gateway_a) = sockets();
    let (sockets_b, gateway_b) = sockets();
    let (a, b) = (Phone::new(gateway_a), Phone::new(gateway_b));
    // Where they really are: the phones' own sockets are not used.
    let (from_a, from_b) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    for socket in [&from_a, &from_b] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let leg = |number, sockets, session: Session, socket: &UdpSocket, codec: Codec| RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session: Session {
            remote_rtp: socket.local_addr().unwrap(),
            codec,
            send_payload_type: codec.payload_type(),
            receive_payload_type: codec.payload_type(),
            ..session
        },
        continuity: Continuity::Transparent,
    };
    let handle = workers.add_relay(NewRelay {
        legs: [
            leg(1, sockets_a, a.session(), &from_a, Codec::Pcmu),
            leg(2, sockets_b, b.session(), &from_b, Codec::G722),
        ],
        rules: Rules::default(),
        states: None,
    });
    let mut packet = [0x55; 172];
    packet[..2].copy_from_slice(&[0x80, 0]);
    talk(&from_a, &a, &from_b, &mut packet, 0..10);
    turn.count("media-0");
    talk(&from_a, &a, &from_b, &mut packet, 10..60);
    packet[1] = 9;
    talk(&from_b, &b, &from_a, &mut packet, 0..50);
    turn.assert_none();
    // What counts does count.
    workers.remove(handle);
    eventually("the end of the call is counted", || turn.counted() > 0);
}
