//! Reads what the XDP program tells: telephone events and reports of relayed calls, addresses that were found, and frames
//! of flows that are mirrored.
//!
//! One thread, asleep in `poll` on the two rings. The packets themselves have gone their way already.

use std::collections::HashMap;
use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use aya::maps::{MapData, RingBuf};
use crossbeam_channel::{Sender, TrySendError};
use voxlane_common::event::{Event, EventKind, MirrorHeader};
use voxlane_common::flow::Mirror;

use super::error::KernelError;
use super::{Shared, lock};
use crate::dtmf::Press;
use crate::flows::Heard;
use crate::media_plane::MirroredFrame;
use crate::worker::monotonic_ns;

/// How often keys whose end was lost are looked for.
const PERIOD: Duration = Duration::from_millis(100);

/// Something the program has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A key was pressed by the far end of a leg.
    Press {
        /// RTP address of the leg.
        local: SocketAddr,
        /// The key.
        press: Press,
    },
}

/// The thread. Ends when dropped.
pub(super) struct EventReader {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
}

/// What the thread shares with those who ask.
#[derive(Default)]
struct Readers {
    /// By RTP address. Locked after the flow table, if both are.
    mirrors: Mutex<HashMap<SocketAddr, Vec<Sender<MirroredFrame>>>>,
    /// By RTP address; of legs that are in the flow table. Locked after it.
    heard: Mutex<HashMap<SocketAddr, Heard>>,
    /// Mirrored frames that a reader did not take in time.
    not_taken: AtomicU64,
}

impl EventReader {
    pub(super) fn start(
        shared: Arc<Shared>,
        events: RingBuf<MapData>,
        mirror: RingBuf<MapData>,
        told: impl FnMut(Told) + Send + 'static,
    ) -> Result<Self, KernelError> {
        let failed = |error| KernelError::io("read what the XDP program tells", error);
        let (stopped, stop) = io::pipe().map_err(failed)?;
        let readers = Arc::new(Readers::default());
        let mut loop_ = Loop {
            shared,
            events,
            mirror,
            told,
            readers: Arc::clone(&readers),
        };
        let thread = std::thread::Builder::new()
            .name("kernel-events".to_owned())
            .spawn(move || loop_.run(&stopped))
            .map_err(|error| KernelError::io("start a thread", error))?;
        Ok(Self {
            stop: Some(stop.into()),
            thread: Some(thread),
            readers,
        })
    }

    /// The other had heard `before` then, and `after` when it had worked off what was left.
    pub(super) fn add_late(&self, local: SocketAddr, before: &Heard, after: &Heard) {
        let mut heard = lock(&self.readers.heard);
        heard.entry(local).or_default().add_late(before, after);
    }

    /// Frames that arrive at a leg are sent, from now on, until the receiver is dropped.
    pub(super) fn mirror(&self, leg: SocketAddr, into: Sender<MirroredFrame>) {
        lock(&self.readers.mirrors).entry(leg).or_default().push(into);
    }

    /// What was heard of a leg.
    pub(super) fn heard(&self, local: SocketAddr) -> Heard {
        lock(&self.readers.heard).get(&local).copied().unwrap_or_default()
    }

    /// Another has heard this of a leg: what is heard from now on goes on from there.
    pub(super) fn hear_on(&self, local: SocketAddr, heard: Heard) {
        lock(&self.readers.heard).insert(local, heard);
    }

    /// A leg has ended, or left the lane: what is known of it goes, and its mirrors end.
    pub(super) fn forget(&self, local: SocketAddr) {
        lock(&self.readers.heard).remove(&local);
        lock(&self.readers.mirrors).remove(&local);
    }

    /// Mirrored frames that a reader did not take in time.
    pub(super) fn not_taken(&self) -> u64 {
        self.readers.not_taken.load(Relaxed)
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads what the XDP program tells has panicked");
        }
    }
}

struct Loop<T> {
    shared: Arc<Shared>,
    events: RingBuf<MapData>,
    mirror: RingBuf<MapData>,
    told: T,
    readers: Arc<Readers>,
}

impl<T: FnMut(Told)> Loop<T> {
    fn run(&mut self, stopped: &impl AsRawFd) {
        let mut looked = Instant::now();
        loop {
            match wait([stopped.as_raw_fd(), self.events.as_raw_fd(), self.mirror.as_raw_fd()]) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "what the XDP program tells is no longer read");
                    return;
                }
            }
            self.read_events();
            self.read_mirror();
            if looked.elapsed() >= PERIOD {
                self.end_presses();
                looked = Instant::now();
            }
        }
    }

    fn read_events(&mut self) {
        let mut events = Vec::new();
        while let Some(item) = self.events.next() {
            if let Ok(event) = bytemuck::try_pod_read_unaligned::<Event>(&item) {
                events.push(event);
            }
        }
        for event in events {
            self.on_event(&event);
        }
    }

    fn on_event(&mut self, event: &Event) {
        let kind = match event.kind() {
            Some(EventKind::Found) => {
                lock(&self.shared.inner).on_found(event.index, event.generation);
                return;
            }
            Some(kind @ (EventKind::TelephoneEvent | EventKind::Rtcp)) => kind,
            None => return,
        };
        let press = {
            let inner = lock(&self.shared.inner);
            let Some((local, _)) = inner.table.leg_at(event.index, event.generation) else {
                return;
            };
            // Of an orphan nobody here knows the call.
            let peer = inner.table.peer_of(local).filter(|_| !inner.table.holds_orphan(local));
            let Some(peer) = peer else {
                return;
            };
            let mut heard = lock(&self.readers.heard);
            let there = heard.get(&peer).copied().unwrap_or_default();
            let here = heard.entry(local).or_default();
            let press = match kind {
                EventKind::Rtcp => {
                    here.reports.on_packet(&there.reports, event.payload(), event.at_ns);
                    None
                }
                EventKind::TelephoneEvent | EventKind::Found => here.on_event_packet(event.payload(), event.at_ns),
            };
            press.map(|press| Told::Press { local, press })
        };
        if let Some(told) = press {
            (self.told)(told);
        }
    }

    /// Presses whose end was lost; legs that are gone are forgotten.
    fn end_presses(&mut self) {
        let now_ns = monotonic_ns();
        let mut ended = Vec::new();
        {
            let inner = lock(&self.shared.inner);
            let mut heard = lock(&self.readers.heard);
            heard.retain(|local, heard| {
                let press = heard.on_time(now_ns);
                ended.extend(press.map(|press| Told::Press { local: *local, press }));
                inner.table.peer_of(*local).is_some()
            });
        }
        ended.into_iter().for_each(&mut self.told);
    }

    fn read_mirror(&mut self) {
        while let Some(item) = self.mirror.next() {
            let Some((header, bytes)) = item.split_at_checked(size_of::<MirrorHeader>()) else {
                continue;
            };
            let Ok(header) = bytemuck::try_pod_read_unaligned::<MirrorHeader>(header) else {
                continue;
            };
            let bytes = &bytes[..bytes.len().min(header.copied as usize)];
            let mut inner = lock(&self.shared.inner);
            let Some((local, _)) = inner.table.leg_at(header.index, header.generation) else {
                continue;
            };
            let mut mirrors = lock(&self.readers.mirrors);
            let senders = mirrors.entry(local).or_default();
            let age = Duration::from_nanos(monotonic_ns().saturating_sub(header.at_ns));
            let frame = MirroredFrame {
                at: SystemTime::now() - age,
                length: header.length,
                bytes: bytes.to_vec(),
            };
            senders.retain(|sender| match sender.try_send(frame.clone()) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    self.readers.not_taken.fetch_add(1, Relaxed);
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            });
            if senders.is_empty() {
                mirrors.remove(&local);
                if let Err(error) = inner.table.set_mirror(local, Mirror::Off) {
                    tracing::warn!(%local, %error, "cannot end the mirroring of a flow");
                }
            }
        }
    }
}

/// Waits for one of the rings, or a period; whether the first descriptor has been closed at its other end.
fn wait(fds: [RawFd; 3]) -> io::Result<bool> {
    let mut polled = fds.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    let timeout = i32::try_from(PERIOD.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the array has the length that is given and outlives the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok(false),
            _ => Err(error),
        };
    }
    Ok(polled[0].revents != 0)
}
