//! Where it happens: the gateway, its callers and its bots in a network namespace each, and the worker alone on its core.
//!
//! Everything else is kept on the other cores, the system's part in what arrives at bots included: it would be on another
//! machine, and interrupts of a network card are no worker's business either. On its core the worker goes before everything that
//! is not real-time, as if that were kept away from there (`isolcpus`).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use crossbeam_channel::Sender;
use voxlane_benches::cores::{self, THIS_THREAD};
use voxlane_dataplane::media_plane::{AttachPolicy, MediaEvent, Unallocated};
use voxlane_dataplane::plane::{IoChoice, KernelChoice, Plane, PlaneConfig, Rules};
use voxlane_dataplane::reception::Limits;
use voxlane_dataplane::worker::FIRST_WORDS;
use voxlane_tests::namespace::Namespace;

/// The gateway's address towards callers.
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 1, 1));

/// Namespaces, and what runs in the gateway's.
pub struct Place {
    gateway: Namespace,
    pub callers: Namespace,
    pub bots: Namespace,
    plane: Option<Arc<Plane>>,
    pub worker_core: usize,
    /// Where this thread was allowed to run before.
    all: libc::cpu_set_t,
}

impl Drop for Place {
    fn drop(&mut self) {
        // It was set before.
        let _ = cores::keep_to(THIS_THREAD, &self.all);
        let plane = self.plane.take();
        self.gateway.run(move || drop(plane));
    }
}

impl Place {
    /// A gateway that sends and receives RTP this way, and runs its worker on the last of the cores. The thread that asks stays
    /// on the others until the place is gone; so do the threads it starts.
    pub fn new(io: IoChoice, events: Sender<MediaEvent>) -> Result<Self> {
        let all = cores::allowed()?;
        let worker_core = match cores::numbers(&all)[..] {
            [_, .., last] => last,
            _ => bail!("callers and bots need a core beside the worker's"),
        };
        let others = cores::without(all, worker_core);
        cores::keep_to(THIS_THREAD, &others)?;
        let [gateway, callers, bots] = [(), (), ()].map(|()| Namespace::new());
        for (far, net) in [(&callers, 1), (&bots, 2)] {
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
        let others = cores::numbers(&others);
        bots.run(move || receive_elsewhere("e2", &others))?;
        let config = PlaneConfig {
            addresses: vec![],
            first_port: 10_000,
            last_port: 19_999,
            ptime: 20,
            jitter: Limits::default(),
            first_words: FIRST_WORDS,
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
        cores::schedule(worker_thread()?, libc::SCHED_FIFO, 1)?;
        Ok(Self {
            gateway,
            callers,
            bots,
            plane: Some(plane),
            worker_core,
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

/// The worker's thread.
fn worker_thread() -> Result<i32> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.trim() == "media-0" {
            let id = task.file_name();
            return Ok(id.to_str().context("a number")?.parse()?);
        }
    }
    bail!("no worker thread")
}

/// Lets what arrives at an interface be taken in by a thread of the system on these cores, not on whichever sends it. It must not
/// get ahead of the bot.
fn receive_elsewhere(interface: &str, cores: &[usize]) -> Result<()> {
    // What the system shows of interfaces is of the namespace in which that file system was mounted.
    let threads = format!("mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/{interface}/threaded");
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", &threads])
        .status()?;
    ensure!(status.success(), "an interface does not get a thread");
    let name = format!("napi/{interface}-");
    for process in fs::read_dir("/proc")? {
        let path = process?.path();
        // One that has ended since has no name.
        let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
        if let (Some(id), true) = (id, comm.starts_with(&name)) {
            cores::keep_to(id, &cores::set_of(cores))?;
            cores::schedule(id, libc::SCHED_BATCH, 0)?;
        }
    }
    Ok(())
}
