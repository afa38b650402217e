//! The way past the network stack for packets of the worker lane: AF_XDP sockets, which the program feeds, and the way to
//! their far ends, which this host's routing knows.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap as BpfHashMap, XskMap};
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use voxlane_common::next_hop::NextHop;
use voxlane_common::sockets::{MAX_SOCKETS, SocketRange};

use super::error::KernelError;
use super::load::take;
use super::{Shared, lock};
use crate::worker::{Ask, Express, Guide, Path};
use crate::xsk;

/// Most receive queues of an interface that get sockets; packets of the others take the network stack.
const MAX_QUEUES: u32 = 64;

/// How often it is looked whether routes or neighbours have changed.
const LOOK: Duration = Duration::from_millis(50);

/// Opens AF_XDP sockets for so many workers on every queue of the interfaces, given by index and name, and has the program
/// feed them.
///
/// # Errors
/// If not one interface could be opened: why the last could not.
pub(super) fn open(
    ebpf: &mut Ebpf,
    interfaces: &[(u32, String)],
    workers: usize,
    asks: &Sender<Ask>,
) -> Result<Vec<Express>, KernelError> {
    let mut sockets: XskMap<_> = XskMap::try_from(take(ebpf, "WORKER_SOCKETS")?)?;
    let mut ranges: BpfHashMap<_, u32, SocketRange> = BpfHashMap::try_from(take(ebpf, "SOCKET_RANGES")?)?;
    let empty = || Express {
        receivers: Vec::new(),
        senders: Vec::new(),
        asks: asks.clone(),
    };
    let mut express: Vec<Express> = std::iter::repeat_with(empty).take(workers).collect();
    let mut first = 0;
    let mut failed = None;
    for (ifindex, name) in interfaces {
        let mut range = SocketRange {
            first,
            queues: 0,
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
        };
        while range.queues < MAX_QUEUES && range.first + range.entries() + range.workers <= MAX_SOCKETS {
            let opened = match xsk::open(*ifindex, range.queues, workers) {
                Ok(Some(opened)) => opened,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(interface = name, queue = range.queues, %error, "no AF_XDP sockets on a receive queue");
                    failed = Some(error);
                    break;
                }
            };
            for ((receiver, sender), (place, express)) in opened
                .into_iter()
                .zip((range.first + range.entries()..).zip(&mut express))
            {
                sockets.set(place, receiver.as_raw_fd(), 0)?;
                express.receivers.push(receiver);
                express.senders.push(sender);
            }
            range.queues += 1;
        }
        match range.queues {
            0 => tracing::warn!(interface = name, "no AF_XDP sockets on an interface"),
            queues => tracing::info!(interface = name, queues, "media workers have AF_XDP sockets"),
        }
        ranges.insert(*ifindex, range, 0)?;
        first += range.entries();
    }
    if first == 0 {
        let error = failed.unwrap_or_else(|| io::Error::other("no interface has a receive queue for it"));
        return Err(KernelError::io("open AF_XDP sockets", error));
    }
    Ok(express)
}

/// Tells workers of the way to far ends: a thread, which ends when this is dropped.
pub(crate) struct Routes {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A way that workers follow.
struct Way {
    workers: Vec<usize>,
    told: NextHop,
}

impl Routes {
    /// Answers what is asked by the channel that is returned. `guides` are the workers, in their order.
    pub(super) fn start(shared: Arc<Shared>, guides: Vec<Guide>) -> io::Result<(Self, Sender<Ask>)> {
        let (asks, asked) = unbounded();
        let (stop, stopped) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("worker-routes".to_owned())
            .spawn(move || follow(&shared, &guides, &asked, &stopped))?;
        let routes = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        Ok((routes, asks))
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that tells workers of routes has panicked");
        }
    }
}

fn follow(shared: &Shared, guides: &[Guide], asked: &Receiver<Ask>, stopped: &Receiver<()>) {
    let mut ways: HashMap<Path, Way> = HashMap::new();
    let mut seen = 0;
    loop {
        select! {
            recv(stopped) -> _ => return,
            recv(asked) -> ask => match ask {
                Ok(ask) => on_ask(shared, guides, &mut ways, ask),
                // No worker is left.
                Err(_) => return,
            },
            default(LOOK) => {}
        }
        let mut inner = lock(&shared.inner);
        if inner.hops.version() == seen {
            continue;
        }
        for (path, way) in &mut ways {
            let hop = inner.hops.way(*path);
            if hop != way.told {
                way.told = hop;
                let guides = way.workers.iter().filter_map(|worker| guides.get(*worker));
                guides.for_each(|guide| guide.tell(*path, hop));
            }
        }
        // What asking has changed is known.
        seen = inner.hops.version();
    }
}

fn on_ask(shared: &Shared, guides: &[Guide], ways: &mut HashMap<Path, Way>, ask: Ask) {
    match ask {
        Ask::Follow { worker, path } => {
            let mut inner = lock(&shared.inner);
            inner.followed.insert(path);
            let way = ways.entry(path).or_insert_with(|| Way {
                workers: Vec::new(),
                told: inner.hops.way(path),
            });
            way.workers.push(worker);
            if let Some(guide) = guides.get(worker) {
                guide.tell(path, way.told);
            }
        }
        Ask::Forget { worker, path } => {
            let Some(way) = ways.get_mut(&path) else {
                return;
            };
            way.workers.retain(|other| *other != worker);
            if way.workers.is_empty() {
                ways.remove(&path);
                lock(&shared.inner).followed.remove(&path);
            }
        }
    }
}
