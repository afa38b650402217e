//! Keeps the next hops of live flows resolved.
//!
//! The program takes hardware addresses from the kernel's neighbour table but cannot start a resolution, and an entry
//! that only the program uses looks unused to the kernel. So a thread says every few seconds that it is used.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::error::KernelError;
use super::{Shared, lock};

/// Well below the 15 s after which the kernel may hold an entry for stale.
const PERIOD: Duration = Duration::from_secs(2);

/// The thread. Ends when dropped.
pub(super) struct Primer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Primer {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, KernelError> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = std::thread::Builder::new()
            .name("kernel-primer".to_owned())
            .spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PERIOD) {
                    prime(&shared);
                }
            })
            .map_err(|error| KernelError::io("start a thread", error))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Primer {
    fn drop(&mut self) {
        // The closed channel ends the wait.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps next hops resolved has panicked");
        }
    }
}

fn prime(shared: &Shared) {
    let paths = lock(&shared.table).paths();
    let mut next_hops = BTreeSet::new();
    for (source, destination) in paths {
        match shared.next_hop(source, destination) {
            Ok(next_hop) => drop(next_hops.insert(next_hop)),
            Err(refusal) => tracing::debug!(%destination, %refusal, "a live flow's destination is out of reach"),
        }
    }
    for (ifindex, address) in next_hops {
        if let Err(error) = lock(&shared.netlink).prime(ifindex, address) {
            tracing::debug!(%address, %error, "cannot ask for a next hop's hardware address");
        }
    }
}
