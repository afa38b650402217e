//! Where it happens: the gateway, its callers and its bots in a network namespace each, and the worker alone on its core.
//!
//! Everything else, the system's part in what arrives at callers and bots included, is kept on the other cores: it would be
//! on other machines, and interrupts of a network card are no worker's business either.

#![allow(unsafe_code, reason = "the system is told by hand where a thread may run")]

use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use crossbeam_channel::Sender;
use voxlane_dataplane::media_plane::{AttachPolicy, MediaEvent, Unallocated};
use voxlane_dataplane::plane::{IoChoice, KernelChoice, Plane, PlaneConfig, Rules};
use voxlane_dataplane::reception::Limits;
use voxlane_tests::namespace::Namespace;

/// The gateway's address towards callers.
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 1, 1));

/// Namespaces, and what runs in the gateway's.
pub struct Place {
    gateway: Namespace,
    pub callers: Namespace,
    pub bots: Namespace,
    plane: Option<Arc<Plane>>,
    /// Where this thread was allowed to run before.
    all: libc::cpu_set_t,
}

impl Drop for Place {
    fn drop(&mut self) {
        // It was set before.
        let _ = keep_to(&self.all);
        let plane = self.plane.take();
        self.gateway.run(move || drop(plane));
    }
}

impl Place {
    /// A gateway that sends and receives RTP this way, and runs its worker on the last of the cores. The thread that asks stays
    /// on the others until the place is gone; so do the threads it starts.
    pub fn new(io: IoChoice, events: Sender<MediaEvent>) -> Result<Self> {
        let all = allowed()?;
        let (worker_core, others) = match numbers(&all).split_last() {
            Some((last, others @ [_, ..])) => (*last, others.to_vec()),
            _ => bail!("callers and bots need a core beside the worker's"),
        };
        let mut not_the_worker_s = all;
        // SAFETY: it is one of the set.
        unsafe { libc::CPU_CLR(worker_core, &mut not_the_worker_s) };
        keep_to(&not_the_worker_s)?;
        let mask = others.iter().fold(0u64, |mask, core| mask | 1 << core);
        let [gateway, callers, bots] = [(), (), ()].map(|()| Namespace::new());
        for (far, net) in [(&callers, 1), (&bots, 2)] {
            far.run(move || fs::write("/proc/sys/net/core/rps_default_mask", format!("{mask:x}")))?;
            far.sh(&format!(
                "ip link add e{net} type veth peer name g{net} netns {}
                 ethtool -K e{net} gro on tx off
                 ip addr add 10.200.{net}.9/24 dev e{net}
                 ip link set e{net} up",
                gateway.thread_id()
            ));
            let (mac, _) = far.interface(&format!("e{net}"));
            let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
            gateway.sh(&format!(
                "ip addr add 10.200.{net}.1/24 dev g{net}
                 ip link set g{net} up
                 ip neigh replace 10.200.{net}.9 lladdr {mac} dev g{net}"
            ));
        }
        let config = PlaneConfig {
            addresses: vec![],
            first_port: 10_000,
            last_port: 19_999,
            ptime: 20,
            jitter: Limits::default(),
            worker_cores: Some(vec![worker_core]),
            io,
            kernel: KernelChoice::On {
                policy: AttachPolicy::Auto,
                interfaces: vec!["g1".to_owned()],
            },
            unallocated: Unallocated::Drop,
            rules: Rules::default(),
            pin: None,
        };
        let plane = gateway.run(move || Plane::start(config, events))?;
        Ok(Self {
            gateway,
            callers,
            bots,
            plane: Some(plane),
            all,
        })
    }

    /// Does something with the gateway's data plane, where that is.
    pub fn gateway<T: Send + 'static>(&self, act: impl FnOnce(&Plane) -> Result<T> + Send + 'static) -> Result<T> {
        let plane = self.plane.clone().context("there as long as the place is")?;
        self.gateway.run(move || act(&plane))
    }

    /// Where callers have their port.
    pub fn caller() -> SocketAddr {
        (Ipv4Addr::new(10, 200, 1, 9), 4000).into()
    }

    /// Where bots listen.
    pub fn bot() -> SocketAddr {
        (Ipv4Addr::new(10, 200, 2, 9), 8080).into()
    }
}

/// The cores that this thread may run on.
fn allowed() -> Result<libc::cpu_set_t> {
    // SAFETY: zeros are an empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the set lives, and has the length it says.
    let told = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    ensure!(told == 0, "no list of cores: {}", io::Error::last_os_error());
    Ok(set)
}

/// Keeps this thread, and those it will start, to these cores.
fn keep_to(set: &libc::cpu_set_t) -> Result<()> {
    // SAFETY: the set lives, and has the length it says.
    let kept = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) };
    ensure!(kept == 0, "a thread cannot be kept to its cores: {}", io::Error::last_os_error());
    Ok(())
}

/// The numbers of a set's cores, in ascending order.
fn numbers(set: &libc::cpu_set_t) -> Vec<usize> {
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: no number is beyond the set's end.
    all.filter(|core| unsafe { libc::CPU_ISSET(*core, set) }).collect()
}
