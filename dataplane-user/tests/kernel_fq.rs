//! Tries the machine, not the gateway: a kernel with `fq` lets packets leave at the time they are given. Where this
//! fails, so must every test of pacing.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "no library offers SO_TXTIME, nor the clock it is about")]

mod kernel_support;

use std::io::IoSlice;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use kernel_support::bench::monotonic_ns;
use kernel_support::{Namespace, is_root};
use socket2::{MsgHdr, SockRef};

/// Lets each packet of this socket carry its departure time.
fn with_departure_times(socket: &UdpSocket) {
    let option = libc::sock_txtime {
        clockid: libc::CLOCK_MONOTONIC,
        flags: 0,
    };
    // SAFETY: the option's value outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TXTIME,
            std::ptr::from_ref(&option).cast(),
            size_of_val(&option) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "SO_TXTIME: {}", std::io::Error::last_os_error());
}

fn send_at(socket: &UdpSocket, to: SocketAddrV4, departure: u64, packet: &[u8]) {
    // A `cmsghdr`: length of it all, level, type; then the time.
    let control = [
        &(size_of::<libc::cmsghdr>() + size_of::<u64>()).to_ne_bytes()[..],
        &libc::SOL_SOCKET.to_ne_bytes(),
        &libc::SCM_TXTIME.to_ne_bytes(),
        &departure.to_ne_bytes(),
    ]
    .concat();
    let (to, packet) = (to.into(), [IoSlice::new(packet)]);
    let message = MsgHdr::new()
        .with_addr(&to)
        .with_buffers(&packet)
        .with_control(&control);
    SockRef::from(socket).sendmsg(&message, 0).unwrap();
}

#[test]
#[ignore = "needs fq: cargo xtask vm"]
fn fq_holds_packets_until_they_are_to_leave() {
    if !is_root() {
        return;
    }
    let (near, far) = (Namespace::new(), Namespace::new());
    near.sh("ip link add s0 type veth peer name e0
         ip addr add 10.200.1.1/24 dev s0
         ip link set s0 up
         tc qdisc add dev s0 root fq");
    near.give("e0", &far);
    far.sh("ip addr add 10.200.1.9/24 dev e0
         ip link set e0 up");
    let to: SocketAddrV4 = "10.200.1.9:4000".parse().unwrap();
    let receiver = far.run(move || UdpSocket::bind(to)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sender = near.run(|| UdpSocket::bind("10.200.1.1:0")).unwrap();
    with_departure_times(&sender);

    let now = monotonic_ns();
    let departures: Vec<u64> = (1..=10).map(|step| now + step * 100_000_000).collect();
    for departure in &departures {
        send_at(&sender, to, *departure, &departure.to_ne_bytes());
    }
    for departure in departures {
        let mut packet = [0; 8];
        assert_eq!(receiver.recv(&mut packet).unwrap(), packet.len());
        let arrival = monotonic_ns();
        assert_eq!(u64::from_ne_bytes(packet), departure, "in the order they were to leave");
        assert!(arrival >= departure, "{} ns too early", departure - arrival);
    }
}
