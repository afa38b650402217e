//! Reads what the XDP program tells: telephone events and reports of relayed calls, addresses that were found, and frames
//! of flows that are mirrored.
//!
//! One thread, asleep in `poll` on the two rings. The packets themselves have gone their way already. Whoever ends a leg or
//! takes it out of the lane reads the rings first ([`EventReader::read_all`]), so that nothing of it is left in them; what is
//! then to be told is told by the thread.
//!
//! A leg that comes from a worker has two who hear of it for a moment: the worker goes through what has waited in its sockets,
//! and the program tells of what came after. What the program tells waits until the worker is done
//! ([`EventReader::add_late`]), so that a key whose packets both have seen is one key.

use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
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
    /// A byte wakes the thread, its end ends it.
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
}

/// What the thread shares with those who ask.
struct Readers {
    shared: Arc<Shared>,
    /// Locked before the flow table.
    rings: Mutex<Rings>,
    /// By RTP address. Locked after the flow table, if both are.
    mirrors: Mutex<HashMap<SocketAddr, Vec<Sender<MirroredFrame>>>>,
    /// By RTP address; of legs that are in the flow table. Locked after it.
    legs: Mutex<HashMap<SocketAddr, Listening>>,
    /// What the thread is to tell. Nothing is locked after it.
    untold: Mutex<VecDeque<Told>>,
    /// Mirrored frames that a reader did not take in time.
    not_taken: AtomicU64,
}

struct Rings {
    events: RingBuf<MapData>,
    mirror: RingBuf<MapData>,
}

/// A leg that is heard.
#[derive(Default)]
struct Listening {
    heard: Heard,
    /// What the program has told while a worker still works off what came before it.
    waiting: Option<Vec<Event>>,
}

impl EventReader {
    pub(super) fn start(
        shared: Arc<Shared>,
        events: RingBuf<MapData>,
        mirror: RingBuf<MapData>,
        told: impl FnMut(Told) + Send + 'static,
    ) -> Result<Self, KernelError> {
        let failed = |error| KernelError::io("read what the XDP program tells", error);
        let (woken, wake) = io::pipe().map_err(failed)?;
        let fds = [woken.as_raw_fd(), events.as_raw_fd(), mirror.as_raw_fd()];
        let readers = Arc::new(Readers {
            shared,
            rings: Mutex::new(Rings { events, mirror }),
            mirrors: Mutex::default(),
            legs: Mutex::default(),
            untold: Mutex::default(),
            not_taken: AtomicU64::new(0),
        });
        let mut teller = Teller {
            readers: Arc::clone(&readers),
            woken,
            told,
        };
        let thread = std::thread::Builder::new()
            .name("kernel-events".to_owned())
            .spawn(move || teller.run(fds))
            .map_err(|error| KernelError::io("start a thread", error))?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
            readers,
        })
    }

    /// Reads all that the program has told so far.
    pub(super) fn read_all(&self) {
        self.readers.read_all();
        self.wake();
    }

    /// Another has heard this of a leg, and goes on with what came before it was the lane's: what the program tells waits for
    /// [`Self::add_late`].
    pub(super) fn hear_on(&self, local: SocketAddr, heard: Heard) {
        let listening = Listening {
            heard,
            waiting: Some(Vec::new()),
        };
        lock(&self.readers.legs).insert(local, listening);
    }

    /// That other is done, and this is what it has heard in the end.
    pub(super) fn add_late(&self, local: SocketAddr, heard: Heard) {
        // What is in the ring comes after what waits.
        let rings = lock(&self.readers.rings);
        let done = Listening { heard, waiting: None };
        let before = lock(&self.readers.legs).insert(local, done);
        let waiting = before.and_then(|before| before.waiting).unwrap_or_default();
        waiting.iter().for_each(|event| self.readers.on_event(event));
        drop(rings);
        self.wake();
    }

    /// Frames that arrive at a leg are sent, from now on, until the receiver is dropped.
    pub(super) fn mirror(&self, leg: SocketAddr, into: Sender<MirroredFrame>) {
        lock(&self.readers.mirrors).entry(leg).or_default().push(into);
    }

    /// What was heard of a leg.
    pub(super) fn heard(&self, local: SocketAddr) -> Heard {
        let legs = lock(&self.readers.legs);
        legs.get(&local).map(|listening| listening.heard).unwrap_or_default()
    }

    /// A leg has ended, or left the lane: what is known of it goes, and its mirrors end.
    pub(super) fn forget(&self, local: SocketAddr) {
        lock(&self.readers.legs).remove(&local);
        lock(&self.readers.mirrors).remove(&local);
    }

    /// Mirrored frames that a reader did not take in time.
    pub(super) fn not_taken(&self) -> u64 {
        self.readers.not_taken.load(Relaxed)
    }

    fn wake(&self) {
        if !lock(&self.readers.untold).is_empty()
            && let Some(mut wake) = self.wake.as_ref()
            && let Err(error) = wake.write_all(&[0])
        {
            tracing::error!(%error, "keys that were pressed are told late");
        }
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads what the XDP program tells has panicked");
        }
    }
}

/// What the thread does.
struct Teller<T> {
    readers: Arc<Readers>,
    woken: PipeReader,
    told: T,
}

impl<T: FnMut(Told)> Teller<T> {
    fn run(&mut self, fds: [RawFd; 3]) {
        let mut looked = Instant::now();
        loop {
            match wait(fds).and_then(|woken| if woken { self.woken.read(&mut [0; 64]) } else { Ok(1) }) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "what the XDP program tells is no longer read");
                    return;
                }
            }
            self.readers.read_all();
            if looked.elapsed() >= PERIOD {
                self.readers.end_presses();
                looked = Instant::now();
            }
            self.tell();
        }
    }

    fn tell(&mut self) {
        // One after another: whoever is told may ask the lane something.
        while let Some(told) = self.readers.next_untold() {
            (self.told)(told);
        }
    }
}

impl Readers {
    fn read_all(&self) {
        let mut rings = lock(&self.rings);
        let rings = &mut *rings;
        while let Some(item) = rings.events.next() {
            let event = bytemuck::try_pod_read_unaligned::<Event>(&item);
            drop(item);
            if let Ok(event) = event {
                self.on_event(&event);
            }
        }
        while let Some(item) = rings.mirror.next() {
            self.on_mirrored(&item);
        }
    }

    fn next_untold(&self) -> Option<Told> {
        lock(&self.untold).pop_front()
    }

    fn on_event(&self, event: &Event) {
        let kind = match event.kind() {
            Some(EventKind::Found) => {
                lock(&self.shared.inner).on_found(event.index, event.generation);
                return;
            }
            Some(kind @ (EventKind::TelephoneEvent | EventKind::Rtcp)) => kind,
            None => return,
        };
        let inner = lock(&self.shared.inner);
        let Some((local, _)) = inner.table.leg_at(event.index, event.generation) else {
            return;
        };
        // Of an orphan nobody here knows the call.
        let peer = inner.table.peer_of(local).filter(|_| !inner.table.holds_orphan(local));
        let Some(peer) = peer else {
            return;
        };
        let mut legs = lock(&self.legs);
        let there = legs.get(&peer).map(|peer| peer.heard).unwrap_or_default();
        let here = legs.entry(local).or_default();
        if let Some(waiting) = &mut here.waiting {
            waiting.push(*event);
            return;
        }
        let heard = &mut here.heard;
        let press = match kind {
            EventKind::Rtcp => {
                heard.reports.on_packet(&there.reports, event.payload(), event.at_ns);
                None
            }
            EventKind::TelephoneEvent | EventKind::Found => heard.on_event_packet(event.payload(), event.at_ns),
        };
        lock(&self.untold).extend(press.map(|press| Told::Press { local, press }));
    }

    /// Presses whose end was lost; legs that are gone are forgotten.
    fn end_presses(&self) {
        let now_ns = monotonic_ns();
        let inner = lock(&self.shared.inner);
        let mut legs = lock(&self.legs);
        legs.retain(|local, listening| {
            if listening.waiting.is_none() {
                let press = listening.heard.on_time(now_ns);
                lock(&self.untold).extend(press.map(|press| Told::Press { local: *local, press }));
            }
            inner.table.peer_of(*local).is_some()
        });
    }

    fn on_mirrored(&self, item: &[u8]) {
        let Some((header, bytes)) = item.split_at_checked(size_of::<MirrorHeader>()) else {
            return;
        };
        let Ok(header) = bytemuck::try_pod_read_unaligned::<MirrorHeader>(header) else {
            return;
        };
        let bytes = &bytes[..bytes.len().min(header.copied as usize)];
        let mut inner = lock(&self.shared.inner);
        let Some((local, _)) = inner.table.leg_at(header.index, header.generation) else {
            return;
        };
        let mut mirrors = lock(&self.mirrors);
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
                self.not_taken.fetch_add(1, Relaxed);
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

/// Waits for one of the rings, or a period; whether the first descriptor is to be read.
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
