//! The kernel lane: relayed calls forwarded by the XDP program, programmed and read from here.
//!
//! In the order a call meets it:
//! 1. [`load`]: the embedded object is loaded once and attached to the configured interfaces ([`attach`], [`pace`]); what
//!    an earlier process has left in the kernel is taken over ([`pins`], [`adopt`]).
//! 2. [`pair`]: two negotiated legs become four flows, RTP and RTCP each way.
//! 3. [`next_hops`]: both far ends must be reached through interfaces of the lane; their neighbours are kept at hand.
//! 4. [`table`]: the flows are written to the maps the program reads, and its counts are read back.
//! 5. [`events`]: a thread reads what the program tells: telephone events, reports, addresses that were found.
//! 6. [`express`]: what is a worker's goes to its AF_XDP sockets.
//! 7. [`watcher`]: a thread follows routes and neighbours while the call lives, by [`netlink`].
//!
//! [`KernelLane`] joins these. Its functions may be called from any thread; they make a few system calls, and
//! but for [`KernelLane::hand_back`] wait for nothing. It belongs to the network namespace of the thread that started it. Dropping it detaches the programs, unless
//! they are pinned and carry calls.

#![allow(unsafe_code)]

mod adopt;
mod attach;
mod error;
mod events;
mod express;
mod geometry;
#[cfg(feature = "lab")]
pub mod lab;
mod load;
mod netlink;
mod next_hops;
mod pace;
mod pair;
mod pins;
mod table;
mod unpin;
mod watcher;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::links::FdLink;
use crossbeam_channel::Sender;
use voxlane_common::flow::{FlowSpec, Mirror};
use voxlane_common::next_hop::NextHopId;
use voxlane_common::outcome::{Loss, Outcome};
use voxlane_common::pace::Pacing;
use voxlane_common::sockets::WorkerId;

pub use self::error::{KernelError, Refusal};
use self::events::EventReader;
pub use self::events::Told;
pub(crate) use self::express::Routes;
pub use self::load::{KernelConfig, TestRun};
use self::next_hops::{NextHops, Path};
pub use self::pair::{Leg, RelayPair};
use self::pins::Pins;
pub use self::pins::detach;
pub use self::table::FlowRecord;
use self::table::{Table, path_of};
use self::watcher::{Changes, Watcher};
use crate::flows::{LegState, Rules};
use crate::lane::Reason;
use crate::media_plane::{InterfaceStatus, MirroredFrame};
use crate::worker::Workers;

/// Longest that a packet is taken to be under way from the program to an AF_XDP socket.
const TO_A_SOCKET: Duration = Duration::from_micros(200);

/// Looks at whether the program is done with a packet are so far apart.
const LOOK: Duration = Duration::from_micros(50);

/// Longest wait for it: a core that stands still longer is not waited for.
const STANDS_STILL: Duration = Duration::from_secs(1);

/// The XDP relay, attached.
pub struct KernelLane {
    shared: Arc<Shared>,
    interfaces: Vec<InterfaceStatus>,
    rules: Rules,
    adopted: bool,
    /// Ends its thread when dropped.
    _watcher: Watcher,
    /// Ends its thread when dropped.
    events: EventReader,
    /// Pinned links, kept open.
    held: Vec<FdLink>,
    /// Holds the programs and those of their links that are not pinned: dropping it detaches.
    ebpf: Mutex<Ebpf>,
    /// Last: whoever waits for the lock finds nobody writing to the maps.
    pins: Option<Pins>,
}

/// What the threads need, too.
struct Shared {
    inner: Mutex<Inner>,
}

/// The flows and where they lead.
struct Inner {
    table: Table,
    hops: NextHops,
    /// Whether an interface keeps departure times, as far as it was asked for; the log has told of those that do not.
    keeps_times: HashMap<String, bool>,
    /// Paths that workers send to by AF_XDP.
    followed: HashSet<Path>,
    /// Whether packets meet the program that gives them their times: without it a packet that is to wait is lost.
    paces: bool,
}

impl KernelLane {
    /// Loads the programs and attaches them. `told` is called, by a thread of the lane, with what the program tells.
    ///
    /// Succeeds if at least one interface could be attached; [`Self::interfaces`] tells about each.
    pub fn start(config: &KernelConfig, told: impl FnMut(Told) + Send + 'static) -> Result<Self, KernelError> {
        let loaded = load::load(config)?;
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                table: loaded.table,
                hops: loaded.hops,
                keeps_times: HashMap::new(),
                followed: HashSet::new(),
                paces: loaded.paces,
            }),
        });
        let threads = Watcher::start(Arc::clone(&shared)).and_then(|watcher| {
            let events = EventReader::start(Arc::clone(&shared), loaded.events, loaded.mirror, told)?;
            Ok((watcher, events))
        });
        let (watcher, events) = threads.inspect_err(|_| {
            if let Some(pins) = &loaded.pins {
                pins.remove_all();
            }
        })?;
        Ok(Self {
            shared,
            interfaces: loaded.interfaces,
            rules: config.rules,
            adopted: loaded.adopted,
            _watcher: watcher,
            events,
            held: loaded.held,
            ebpf: Mutex::new(loaded.ebpf),
            pins: loaded.pins,
        })
    }

    /// How each configured interface fared.
    pub fn interfaces(&self) -> &[InterfaceStatus] {
        &self.interfaces
    }

    /// Whether what an earlier process had left was taken over.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// The ports of a leg, given by its RTP address, are a socket's from now on: the program leaves them alone.
    pub fn reserve(&self, local: SocketAddr) -> Result<(), KernelError> {
        self.inner().table.reserve(local, WorkerId::NONE)
    }

    /// What arrives at the ports of a leg goes to the AF_XDP sockets of a worker from now on, where it has one; its UDP
    /// sockets get the rest.
    pub fn steer(&self, local: SocketAddr, worker: usize) -> Result<(), KernelError> {
        let worker = u32::try_from(worker).map_or(WorkerId::NONE, WorkerId::new);
        self.inner().table.reserve(local, worker)
    }

    /// As [`Self::reserve`], of legs that were steered; returns when the last packet that the program gave to a worker is in
    /// its ring.
    pub fn steer_back(&self, locals: &[SocketAddr]) -> Result<(), KernelError> {
        locals.iter().try_for_each(|local| self.reserve(*local))?;
        std::thread::sleep(TO_A_SOCKET);
        Ok(())
    }

    /// The ports of a leg are nobody's from now on.
    pub fn release(&self, local: SocketAddr) {
        self.inner().table.release(local);
    }

    /// Opens AF_XDP sockets for workers, on every queue of every interface of the lane, and tells them from now on how their
    /// far ends are reached. To be called once.
    ///
    /// # Errors
    /// If there is no interface on which it could be done.
    pub(crate) fn serve(&self, workers: &Workers) -> Result<Routes, KernelError> {
        let interfaces = self.inner().hops.attached();
        let (routes, asks) = Routes::start(Arc::clone(&self.shared), workers.guides())
            .map_err(|error| KernelError::io("start a thread", error))?;
        let express = express::open(&mut lock(&self.ebpf), &interfaces, workers.count(), &asks)?;
        workers.use_express(express);
        Ok(routes)
    }

    /// Whether the ports of this RTP address carry a call of an earlier process.
    pub fn holds_orphan(&self, local: SocketAddr) -> bool {
        self.inner().table.holds_orphan(local)
    }

    /// Whether these paths, each our address and a far end's, lead through the lane.
    ///
    /// # Errors
    /// If one does not.
    pub fn reaches(&self, paths: [(IpAddr, IpAddr); 2]) -> Result<(), Refusal> {
        let mut inner = self.inner();
        let known = paths.into_iter().filter(|(_, remote)| !remote.is_unspecified());
        known
            .into_iter()
            .try_for_each(|path| inner.hops.of_path(path).map(drop))
    }

    /// Relays between two legs from now on. Packets of either leg that arrived before are the business of whoever held
    /// the ports.
    ///
    /// Also for legs that are relayed already, after a re-INVITE: counts go on, and a leg whose media address has moved
    /// is found anew. `states` is what another lane knew of the two legs: who owns their flows, their counts, the streams
    /// that were sent.
    pub fn program(&self, pair: &RelayPair, states: Option<[LegState; 2]>) -> Result<(), Refusal> {
        let mut flows = pair.flows(self.rules)?;
        let mut inner = self.inner();
        let Inner {
            table,
            hops,
            keeps_times,
            paces,
            ..
        } = &mut *inner;
        for path in pair.destinations() {
            hops.of_path(path)?;
        }
        let wish = |flow: &&mut FlowSpec| flow.pacing != Pacing::Off;
        for flow in flows.iter_mut().map(|leg| &mut leg.rtp).filter(wish) {
            let mut keeps = |path| keeps_departure_times(hops, keeps_times, path);
            // Where a far end is still to be found, the times are given: no queue, no delay, but nothing is lost.
            if !*paces || !path_of(flow).is_none_or(&mut keeps) {
                flow.pacing = Pacing::Off;
            }
        }
        table
            .program(flows, states, |path| hops.of_path(path).unwrap_or(NextHopId::UNKNOWN))
            .map_err(|error| Refusal::new(Reason::FlowTable, error.to_string()))?;
        for (leg, state) in [&pair.0, &pair.1].into_iter().zip(states.iter().flatten()) {
            self.events.hear_on(leg.local, state.heard);
        }
        Ok(())
    }

    /// Ends the flows of the pair that the leg at `local` (its RTP address) belongs to, and returns the leg's last
    /// counts. Those of the other leg stay readable until it is removed in turn. The ports are nobody's afterwards.
    pub fn remove(&self, local: SocketAddr) -> Option<FlowRecord> {
        self.events.read_all();
        let mut inner = self.inner();
        let record = self.with_heard(local, inner.table.remove(local));
        self.events.forget(local);
        record
    }

    /// Leaves the packets of a pair to sockets, which must be bound to its ports by now, and returns what was known of
    /// its legs, that of `local` first. `None` if it is not in this lane. Whoever mirrors it sees its end.
    pub fn hand_back(&self, local: SocketAddr) -> Result<Option<[LegState; 2]>, KernelError> {
        let Some(pair) = self.inner().table.let_go(local)? else {
            return Ok(None);
        };
        // A packet that was on its way through the program when the flows were changed is to be counted, and what the program
        // told of it to be read.
        self.await_frames();
        self.events.read_all();
        let mut inner = self.inner();
        let states = inner.table.last_states(pair);
        let states = self.with_all_heard(pair, states);
        for leg in pair {
            self.events.forget(leg);
        }
        Ok(Some(states))
    }

    /// Waits until the program is done with the frames it is at work on.
    fn await_frames(&self) {
        let before = self.inner().table.frames();
        let deadline = Instant::now() + STANDS_STILL;
        let mut now = before.clone();
        while now
            .iter()
            .zip(&before)
            .any(|(now, before)| now.may_be_at_work_since(before))
        {
            if Instant::now() > deadline {
                tracing::warn!(
                    "a core stands still in the XDP program: a packet is missing in the figures of its call"
                );
                return;
            }
            std::thread::sleep(LOOK);
            now = self.inner().table.frames();
        }
    }

    /// What is known of the leg at `local` and of its peer; `None` unless both are in this lane.
    pub fn states(&self, local: SocketAddr) -> Option<[LegState; 2]> {
        let inner = self.inner();
        let peer = inner.table.peer_of(local)?;
        let states = inner.table.states(local)?;
        Some(self.with_all_heard([local, peer], states))
    }

    fn with_all_heard(&self, legs: [SocketAddr; 2], mut states: [LegState; 2]) -> [LegState; 2] {
        for (state, leg) in states.iter_mut().zip(legs) {
            state.heard = self.events.heard(leg);
        }
        states
    }

    /// Another lane knew `before` of a leg when it was programmed here, and `after` when it had worked off what was left
    /// in its sockets: that is taken into account.
    pub fn add_late(&self, local: SocketAddr, before: &LegState, after: &LegState) -> Result<(), KernelError> {
        self.events.add_late(local, after.heard);
        self.inner().table.add_late(local, before, after)
    }

    /// What was seen of the leg at `local` (its RTP address). `None` if it is not in this lane.
    pub fn read(&self, local: SocketAddr) -> Option<FlowRecord> {
        self.with_heard(local, self.inner().table.read(local))
    }

    fn with_heard(&self, local: SocketAddr, record: Option<FlowRecord>) -> Option<FlowRecord> {
        let heard = self.events.heard(local);
        record.map(|record| FlowRecord {
            datagrams: heard.datagrams,
            digits: heard.digits,
            round_trip: heard.reports.measured(),
            far: heard.far(),
            ..record
        })
    }

    /// Legs in this lane, without those of earlier processes.
    pub fn legs(&self) -> usize {
        self.inner().table.legs()
    }

    /// Legs of earlier processes that still carry media.
    pub fn orphans(&self) -> usize {
        self.inner().table.orphans()
    }

    /// Ends the calls of earlier processes on which nothing was heard for this long. The lane does so by itself every few
    /// seconds, with a minute.
    pub fn drop_quiet_orphans(&self, quiet: Duration) {
        self.inner().table.drop_quiet_orphans(quiet);
    }

    /// Frames by how they ended, since the program was loaded first.
    pub fn counters(&self) -> Vec<(Outcome, u64)> {
        self.inner().table.counters()
    }

    /// Packets by their time in the program: the end of a bucket (ns, exclusive; `None` for the last) and its count. One
    /// packet in 64 is measured.
    pub fn durations(&self) -> Vec<(Option<u64>, u64)> {
        self.inner().table.durations()
    }

    /// What could not be told, because nobody read in time.
    pub fn lost(&self, loss: Loss) -> u64 {
        let not_taken = match loss {
            Loss::Event => 0,
            Loss::Mirrored => self.events.not_taken(),
        };
        self.inner().table.lost(loss) + not_taken
    }

    /// Interfaces that flows which want to be paced leave by, and whether they keep departure times.
    pub fn pacing(&self) -> Vec<(String, bool)> {
        let inner = self.inner();
        let mut interfaces: Vec<_> = inner
            .keeps_times
            .iter()
            .map(|(name, keeps)| (name.clone(), *keeps))
            .collect();
        interfaces.sort();
        interfaces
    }

    /// Sends copies of all that arrives at the leg at `local`, until the receiver is dropped or the leg leaves this lane.
    /// Frames that it does not take in time are lost.
    pub fn mirror(&self, local: SocketAddr, into: Sender<MirroredFrame>) -> Result<(), KernelError> {
        self.events.mirror(local, into);
        self.inner().table.set_mirror(local, Mirror::On)
    }

    /// Runs the program once over `frame` as if it had come in through the interface `ingress` (BPF_PROG_TEST_RUN), for
    /// tests and benchmarks. Flows and counters see the frame; nothing is sent.
    pub fn test_run(&self, frame: &[u8], ingress: u32) -> Result<TestRun, KernelError> {
        load::test_run(&mut lock(&self.ebpf), frame, ingress)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.shared.inner)
    }
}

impl Drop for KernelLane {
    fn drop(&mut self) {
        let Some(pins) = &self.pins else {
            return;
        };
        if self.inner().table.is_idle() {
            self.held.clear();
            pins.remove_all();
        } else {
            tracing::info!("the kernel lane goes on without this process; `voxlane detach` ends it");
        }
    }
}

impl Shared {
    /// Neighbours or interfaces have changed.
    fn on_changes(&self, changes: &Changes) {
        let mut inner = lock(&self.inner);
        for neighbour in &changes.neighbours {
            inner.hops.on_neighbour(neighbour);
        }
        if changes.links {
            inner.hops.on_links();
        }
    }
}

impl Inner {
    /// What is to be done every few seconds.
    fn tidy(&mut self) {
        self.table.drop_quiet_orphans(adopt::QUIET);
        let mut paths: HashSet<Path> = self.table.paths().into_keys().collect();
        paths.extend(&self.followed);
        self.hops.retain(&paths);
        self.hops.prime();
    }

    fn reroute(&mut self) {
        let moved = self.hops.reroute();
        if moved.is_empty() {
            return;
        }
        if let Err(error) = self.table.reroute(&moved) {
            tracing::error!(%error, "cannot tell flows of their new next hops");
        }
    }

    /// A flow has been found to come from elsewhere than was signalled.
    fn on_found(&mut self, index: u32, generation: u32) {
        let Self { table, hops, .. } = self;
        let next_hop = |path| hops.of_path(path).unwrap_or(NextHopId::UNKNOWN);
        if let Err(error) = table.on_found(index, generation, next_hop) {
            tracing::error!(%error, "cannot tell a flow where its far end was found");
        }
    }
}

/// Whether the interface a path leads through keeps departure times; the first that does not is told.
fn keeps_departure_times(hops: &mut NextHops, known: &mut HashMap<String, bool>, path: Path) -> bool {
    let id = hops.of_path(path).unwrap_or(NextHopId::UNKNOWN);
    let Some((interface, keeps)) = hops.keeps_departure_times(id) else {
        return false;
    };
    if !keeps && known.get(&interface) != Some(&false) {
        tracing::warn!(
            interface,
            "no fq queue: relayed calls are not paced there, only what workers send is; \
             set one with `tc qdisc replace dev {interface} root fq`"
        );
    }
    known.insert(interface, keeps);
    keeps
}

/// Locks a mutex whose data stay consistent even if a holder panicked: every change is a single map write.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
