//! A gateway whose program is asked about single frames (BPF_PROG_TEST_RUN): nothing is sent, and nobody is needed at
//! the other end of the wire.

use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxlane_common::outcome::Outcome;
use voxlane_dataplane::kernel::{KernelConfig, KernelLane, TestRun, Told};

use super::frames::{Header, frame};
use super::{Namespace, VLAN, config, gateway, neighbour, network};

/// The lane on `a0` and `b0` of [`gateway`].
pub struct Bench {
    pub lane: Arc<KernelLane>,
    /// Hardware address and index of the interfaces towards the networks 1 (and its VLAN, 3) and 2.
    a: ([u8; 6], u32),
    b: ([u8; 6], u32),
    // Last: the lane goes before the namespace it lives in.
    pub gateway: Namespace,
}

/// How a frame ended, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub outcome: Outcome,
    pub run: TestRun,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: KernelConfig) -> Self {
        Self::telling(config, |_| {})
    }

    /// `told` is called with what the program tells.
    pub fn telling(config: KernelConfig, told: impl FnMut(Told) + Send + 'static) -> Self {
        Self::on(gateway(), config, told)
    }

    pub fn on(gateway: Namespace, config: KernelConfig, told: impl FnMut(Told) + Send + 'static) -> Self {
        let config = KernelConfig {
            interfaces: vec!["a0".to_owned(), "b0".to_owned()],
            ..config
        };
        let lane = gateway.run(move || KernelLane::start(&config, told)).unwrap();
        Self {
            lane: Arc::new(lane),
            a: gateway.interface("a0"),
            b: gateway.interface("b0"),
            gateway,
        }
    }

    /// Our hardware address, the interface, and the VLAN towards an address.
    pub fn towards(&self, address: SocketAddr) -> ([u8; 6], u32, Option<u16>) {
        let ((mac, ifindex), vlan) = match network(address) {
            1 => (self.a, None),
            3 => (self.a, Some(VLAN)),
            _ => (self.b, None),
        };
        (mac, ifindex, vlan)
    }

    /// The frame with which a packet arrives.
    pub fn frame(&self, from: SocketAddr, local: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let (mac, _, vlan) = self.towards(local);
        let header = Header {
            ttl: 9,
            tos: 0,
            id: 7,
            dont_fragment: false,
            macs: [neighbour(from), mac],
            vlan,
        };
        frame(&header, from, local, payload, true)
    }

    /// The frame with which a packet is sent on.
    pub fn sent_on(&self, outgoing: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let (mac, _, vlan) = self.towards(outgoing);
        frame(
            &Header::of_relay([mac, neighbour(to)], vlan),
            outgoing,
            to,
            payload,
            true,
        )
    }

    /// From now on the program cannot ask the kernel for a route: it is left with the next hops it has been told.
    pub fn look_nothing_up(&self) {
        self.gateway.run(|| {
            for family in ["ipv4", "ipv6"] {
                std::fs::write(format!("/proc/sys/net/{family}/conf/lo/forwarding"), "0").unwrap();
            }
        });
    }

    /// Moves the thread that calls this into the namespace, for good.
    pub fn enter(&self) {
        let path = format!("/proc/self/task/{}/ns/net", self.gateway.thread_id());
        let namespace = std::fs::File::open(path).unwrap();
        // SAFETY: a system call on a descriptor that is open; it concerns this thread only.
        let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "setns: {}", std::io::Error::last_os_error());
    }

    /// A packet arrives at one of our addresses.
    pub fn packet(&self, from: SocketAddr, local: SocketAddr, payload: &[u8]) -> Judged {
        self.arrives(self.frame(from, local, payload), local)
    }

    /// A frame arrives where packets to `local` do.
    pub fn arrives(&self, frame: Vec<u8>, local: SocketAddr) -> Judged {
        let before = self.lane.counters();
        let run = self.all_arrive(vec![frame], local).remove(0);
        let after = self.lane.counters();
        let counted: Vec<Outcome> = before
            .iter()
            .zip(&after)
            .flat_map(|(before, after)| vec![before.0; (after.1 - before.1) as usize])
            .collect();
        let [outcome] = counted[..] else {
            panic!("one frame, counted as {counted:?}");
        };
        Judged { outcome, run }
    }

    /// Frames arrive one after the other, as fast as can be.
    pub fn all_arrive(&self, frames: Vec<Vec<u8>>, local: SocketAddr) -> Vec<TestRun> {
        let (_, ifindex, _) = self.towards(local);
        let lane = Arc::clone(&self.lane);
        // A test run finds its interface in the namespace of the thread that asks for it.
        self.gateway.run(move || {
            let run = |frame: &Vec<u8>| lane.test_run(frame, ifindex).unwrap();
            frames.iter().map(run).collect()
        })
    }
}

/// The clock of arrivals and departures.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a variable of ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
