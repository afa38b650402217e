//! The strongest oracle: a real UDP socket. What the XDP program makes of a packet is, byte for byte and from the
//! Ethernet header on, what a userspace relay's socket puts on the wire.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "no library sets IP_MTU_DISCOVER")]

mod kernel_support;

use std::net::SocketAddr;

use kernel_support::frames::{Header, XDP_REDIRECT, frame};
use kernel_support::tap::Tap;
use kernel_support::{Call, Lanes, Namespace, gateway, is_root, neighbour, rtp};
use socket2::{Domain, Protocol, Socket, Type};

/// A socket that sends as the userspace relay's do.
fn relay_socket(namespace: &Namespace, local: SocketAddr) -> Socket {
    namespace.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_ttl_v4(64).unwrap();
        socket.set_tos_v4(0xb8).unwrap();
        let always: libc::c_int = libc::IP_PMTUDISC_DO;
        // SAFETY: the option's value is an int that outlives the call.
        let result = unsafe {
            libc::setsockopt(
                std::os::fd::AsRawFd::as_raw_fd(&socket),
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                std::ptr::from_ref(&always).cast(),
                size_of_val(&always) as libc::socklen_t,
            )
        };
        assert_eq!(result, 0);
        socket.bind(&local.into()).unwrap();
        socket
    })
}

#[test]
fn program_and_socket_send_the_same_frame() {
    if !is_root() {
        return;
    }
    let (gateway, call) = (gateway(), Call::across());
    let lane = gateway.lane(&["a0", "b0"]);
    lane.program(&call.pair(), None).unwrap();
    let (mac, ifindex) = gateway.interface("a0");
    let tap = Tap::new(&gateway, "b1");
    let socket = relay_socket(&gateway, call.callee_side);

    let mut arriving = Vec::new();
    let mut sent = Vec::new();
    for sequence in 0..50u16 {
        let payload_type = if sequence % 10 == 9 { 101 } else { 0 };
        let mut payload = rtp(payload_type, sequence, u32::from(sequence / 25) + 1);
        payload.truncate(12 + usize::from(sequence) * 3);
        let header = Header {
            ttl: 50,
            tos: 0,
            id: sequence,
            dont_fragment: false,
            macs: [neighbour(call.caller), mac],
            vlan: None,
        };
        arriving.push(frame(&header, call.caller, call.caller_side, &payload, true));
        if payload_type == 101 {
            payload[1] = 96;
        }
        socket.send_to(&payload, &call.callee.into()).unwrap();
        sent.push(tap.next_udp(call.callee.port()).frame);
    }
    gateway.run(move || {
        for (arriving, sent) in arriving.iter().zip(&sent) {
            let run = lane.test_run(arriving, ifindex).unwrap();
            assert_eq!(run.action, XDP_REDIRECT);
            assert_eq!(run.frame, *sent);
        }
    });
}
