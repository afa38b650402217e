//! The jitter buffer: packets wait here, in order, until it is their turn.
//!
//! It holds encoded packets and knows nothing of samples. [`JitterBuffer::insert`] puts each where it belongs,
//! [`JitterBuffer::next`] says what comes next: a packet, or so much of nothing. How long packets wait follows how late
//! they come (see `arrivals`), within [`Limits`]; the wait changes
//! - at the beginning of a talk spurt, when there is nothing to hear;
//! - when a packet is late: what is heard stands still until it is there, and packets wait longer from then on;
//! - where whoever plays makes the audio shorter or longer, asked by [`JitterBuffer::balance`].

use std::collections::VecDeque;
use std::time::Duration;

use voxlane_common::rtp::RtpHeader;

use super::arrivals::Arrivals;

/// A gap of this many packets is taken for loss, a wider one for a sender that has started anew (RFC 3550 A.1).
const MAX_DROPOUT: u16 = 3000;

/// A packet up to this far behind the newest is late; from further away, the sender has started anew (RFC 3550 A.1).
const MAX_MISORDER: u16 = 100;

/// Packets, or parts of long ones, that may wait.
const SLOTS: usize = 64;

/// Bytes of one of them: 20 ms of G.711. A longer packet is kept in parts.
const SLOT: usize = 160;

/// A packet that comes this much sooner than any before has a new timestamp base: the sender has set its clock anew, µs.
const TOO_SOON_US: i64 = 500_000;

/// One that comes this much later than the greatest delay, likewise, µs.
const TOO_LATE_US: i64 = 1_000_000;

/// An event that claims to be further from the audio before it than this is taken to follow it at once, ticks.
const EVENT_NEARBY: i64 = 8000;

/// More than this above what is aimed at, packets wait too long, µs.
const HYSTERESIS_US: i64 = 5000;

/// What is measured of the floor may be wrong by this, µs.
const MARGIN_US: i64 = 1000;

/// How long packets may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At least this long, though they come at regular times.
    pub min: Duration,
    /// At most this long; what comes later is left out.
    pub max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min: Duration::ZERO,
            max: Duration::from_millis(200),
        }
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Audio of so many ticks of the RTP clock a byte of payload.
    Audio {
        /// Ticks a byte.
        ticks_a_byte: u32,
    },
    /// Comfort noise (RFC 3389).
    Noise,
    /// A telephone event (RFC 4733).
    Event,
}

impl Kind {
    /// Ticks of the RTP clock that a payload fills.
    fn ticks(self, payload: &[u8]) -> u32 {
        match self {
            Self::Audio { ticks_a_byte } => {
                ticks_a_byte.saturating_mul(u32::try_from(payload.len()).unwrap_or(u32::MAX))
            }
            Self::Noise | Self::Event => 0,
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It waits for its turn.
    Waits,
    /// Its time is over.
    Late,
    /// It has come before.
    Duplicate,
    /// There is no room for it.
    Overflow,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// Nothing yet: the stream has not begun.
    Nothing,
    /// This audio. `cut`: what was before it has been left out.
    Audio { payload: &'a [u8], cut: bool },
    /// Noise is to be heard from now on.
    Noise(&'a [u8]),
    /// A telephone event.
    Event(RtpHeader, &'a [u8]),
    /// So many ticks for which audio is missing.
    Missing(u32),
    /// So many ticks in which nothing was sent.
    Pause(u32),
}

/// Whether packets wait as long as they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Balance {
    /// Not long enough.
    TooShort,
    Right,
    /// Too long, by so many ticks at least.
    TooLong(u32),
}

/// What has become of the packets of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came after their time.
    pub late: u64,
    /// Came more than two packet times sooner than they had to.
    pub early: u64,
    /// Had come before.
    pub duplicates: u64,
    /// Were left out because there was no room, or others would have had to wait too long.
    pub overflow: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: i64,
    part: u8,
    /// Media time, ticks.
    at: i64,
    ticks: u32,
    /// Ticks of the whole packet.
    packet_ticks: u32,
    kind: Kind,
    /// A new timeline begins with it.
    anew: bool,
    header: RtpHeader,
    slot: u8,
    length: u8,
}

/// Where the numbers of the sender stand on ours, which do not wrap.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// Highest sequence number so far, theirs and ours.
    sequence: u16,
    extended: i64,
    /// A timestamp, theirs and ours.
    timestamp: u32,
    at: i64,
    /// End of the newest audio.
    end: i64,
}

/// What was handed out last.
#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: i64,
    /// Media time of what comes next.
    cursor: i64,
    /// Ticks of something else heard since.
    held: i64,
    /// Audio is not expected: an event or a description of noise was last.
    paused: bool,
    /// Which of the numbers up to `sequence` have come: bit n is `sequence` minus n.
    seen: u64,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    limits: Limits,
    clock_rate: i64,
    /// Time between two questions what is next, µs.
    period_us: i64,
    arrivals: Arrivals,
    source: Option<Source>,
    entries: VecDeque<Entry>,
    free: Vec<u8>,
    bytes: Box<[[u8; SLOT]; SLOTS]>,
    last: Option<Last>,
    cut: bool,
    counts: Counts,
    /// How long the packet waited that was handed out last, µs.
    delay_us: i64,
}

impl JitterBuffer {
    /// A buffer for a stream whose RTP clock has `clock_rate` ticks a second, that will be asked every `period` what is
    /// next.
    pub fn new(limits: Limits, clock_rate: u32, period: Duration) -> Self {
        Self {
            limits,
            clock_rate: i64::from(clock_rate.max(1)),
            period_us: micros(period),
            arrivals: Arrivals::default(),
            source: None,
            entries: VecDeque::with_capacity(SLOTS),
            free: (0..SLOTS as u8).rev().collect(),
            bytes: Box::new([[0; SLOT]; SLOTS]),
            last: None,
            cut: false,
            counts: Counts::default(),
            delay_us: 0,
        }
    }

    /// Takes a packet that came at `now`. `payload` is what follows the RTP header.
    pub fn insert(&mut self, header: &RtpHeader, kind: Kind, payload: &[u8], now: Duration) -> Inserted {
        let inserted = self.try_insert(header, kind, payload, micros(now));
        let count = match inserted {
            Inserted::Waits => return inserted,
            Inserted::Late => &mut self.counts.late,
            Inserted::Duplicate => &mut self.counts.duplicates,
            Inserted::Overflow => &mut self.counts.overflow,
        };
        *count += 1;
        inserted
    }

    /// What has become of the packets.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How long packets are to wait: what the delays of the last half minute ask for.
    pub fn target(&self) -> Duration {
        Duration::from_micros(self.target_us().unsigned_abs())
    }

    /// How long the packet that was handed out last waited beyond the fastest way here.
    pub fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.max(0).unsigned_abs())
    }

    /// Forgets what waits: nothing is to be heard for a while.
    pub fn clear(&mut self) {
        while let Some(entry) = self.entries.pop_front() {
            self.free.push(entry.slot);
        }
        self.last = None;
        self.source = None;
        self.cut = false;
    }

    /// What comes next at `now`, of which `need` ticks are wanted.
    pub(super) fn next(&mut self, need: u32, now: Duration) -> Next<'_> {
        let now_us = micros(now);
        self.leave_out(now_us);
        let Some(head) = self.entries.front().copied() else {
            return match &mut self.last {
                None => Next::Nothing,
                Some(last) => {
                    last.held += i64::from(need);
                    filling(last.paused, need)
                }
            };
        };
        let due = self.wait_us(&head, now_us) >= self.target_us() + self.lead_us(&head);
        let Some(last) = &mut self.last else {
            return match head.kind {
                Kind::Event => self.take_event(head),
                Kind::Audio { .. } | Kind::Noise if due => self.take(head, now_us),
                Kind::Audio { .. } | Kind::Noise => Next::Nothing,
            };
        };
        let follows = head.sequence <= last.sequence + 1;
        let missing = head.at - last.cursor - last.held;
        match head.kind {
            Kind::Event if follows || head.anew || missing <= 0 => self.take_event(head),
            Kind::Audio { .. } | Kind::Noise if head.at == last.cursor && !head.anew => self.take(head, now_us),
            // Nothing is missing: the sender has paused, or begun anew.
            Kind::Audio { .. } | Kind::Noise if head.anew || follows => {
                if due {
                    return self.take(head, now_us);
                }
                last.held += i64::from(need);
                Next::Pause(need)
            }
            Kind::Audio { .. } | Kind::Noise if missing <= 0 => self.take(head, now_us),
            // What is missing may not come any more: it has been waited for.
            Kind::Audio { .. } | Kind::Noise | Kind::Event => {
                let part = i64::from(need).min(missing);
                last.cursor += last.held + part;
                last.held = 0;
                filling(last.paused, part as u32)
            }
        }
    }

    /// Whether the packet at the front is audio that follows what was handed out last at once.
    pub(super) fn goes_on(&self) -> bool {
        let (Some(head), Some(last)) = (self.entries.front(), &self.last) else {
            return false;
        };
        matches!(head.kind, Kind::Audio { .. }) && head.at == last.cursor && !head.anew
    }

    /// Whether packets wait as long as they should, if at `now` so many ticks of what was handed out have not been heard
    /// yet.
    pub(super) fn balance(&self, spare: u32, now: Duration) -> Balance {
        let (Some(last), Some(floor_us)) = (&self.last, self.arrivals.floor_us()) else {
            return Balance::Right;
        };
        let target_us = self.target_us();
        // How old what is heard now is, beyond the fastest way here.
        let age_us = micros(now) - floor_us - self.us(last.cursor - i64::from(spare));
        if last.held > 0 || last.paused {
            Balance::Right
        } else if self.delay_us < target_us {
            Balance::TooShort
        } else {
            // What is cut out must not make them wait too short.
            match self.ticks(age_us - target_us - MARGIN_US) {
                excess if excess >= self.ticks(HYSTERESIS_US) => {
                    Balance::TooLong(u32::try_from(excess).unwrap_or(u32::MAX))
                }
                _ => Balance::Right,
            }
        }
    }

    /// How much longer the first of a row of packets has to wait so that none is missed later, where a packet is not as
    /// long as the time between two questions.
    fn lead_us(&self, head: &Entry) -> i64 {
        match self.us(i64::from(head.packet_ticks)) {
            0 => 0,
            length_us => self.period_us - common_divisor(self.period_us, length_us),
        }
    }

    fn target_us(&self) -> i64 {
        let (min, max) = (micros(self.limits.min), micros(self.limits.max));
        i64::from(self.arrivals.spread_us()).max(min).min(max)
    }

    fn us(&self, ticks: i64) -> i64 {
        ticks.saturating_mul(1_000_000) / self.clock_rate
    }

    fn ticks(&self, us: i64) -> i64 {
        us.saturating_mul(self.clock_rate) / 1_000_000
    }

    /// How long a packet has waited by `now_us`, counted from when it had come by the fastest way.
    fn wait_us(&self, entry: &Entry, now_us: i64) -> i64 {
        let floor_us = self.arrivals.floor_us().unwrap_or_default();
        now_us - floor_us - self.us(entry.at)
    }

    /// Leaves out what would make everything after it wait too long.
    fn leave_out(&mut self, now_us: i64) {
        let most_us = micros(self.limits.max) + 2 * self.period_us + HYSTERESIS_US;
        while self.entries.len() > 1
            && let Some(head) = self.entries.front().copied()
            && matches!(head.kind, Kind::Audio { .. })
            && self.last.is_some()
            && self.wait_us(&head, now_us) > most_us
        {
            self.counts.overflow += u64::from(head.part == 0);
            self.cut = true;
            self.release(head);
        }
    }

    /// Takes the front out without handing it out.
    fn release(&mut self, head: Entry) {
        self.entries.pop_front();
        self.free.push(head.slot);
        if let Some(last) = &mut self.last {
            last.pass(head.sequence);
            last.cursor = head.at + i64::from(head.ticks);
            last.held = 0;
        }
    }

    fn take(&mut self, head: Entry, now_us: i64) -> Next<'_> {
        self.delay_us = self.wait_us(&head, now_us);
        let last = self.last.get_or_insert(Last::before(&head));
        self.entries.pop_front();
        self.free.push(head.slot);
        last.pass(head.sequence);
        last.cursor = head.at + i64::from(head.ticks);
        last.held = 0;
        last.paused = head.kind == Kind::Noise;
        let payload = &self.bytes[usize::from(head.slot)][..usize::from(head.length)];
        match head.kind {
            Kind::Audio { .. } => Next::Audio {
                payload,
                cut: std::mem::take(&mut self.cut),
            },
            Kind::Noise | Kind::Event => Next::Noise(payload),
        }
    }

    fn take_event(&mut self, head: Entry) -> Next<'_> {
        let last = self.last.get_or_insert(Last::before(&head));
        self.entries.pop_front();
        self.free.push(head.slot);
        last.pass(head.sequence);
        last.paused = true;
        let payload = &self.bytes[usize::from(head.slot)][..usize::from(head.length)];
        Next::Event(head.header, payload)
    }

    fn try_insert(&mut self, header: &RtpHeader, kind: Kind, payload: &[u8], now_us: i64) -> Inserted {
        let (sequence, at, anew) = match self.place(header, kind, now_us) {
            Some(place) => place,
            None => return Inserted::Late,
        };
        if let Some(last) = &self.last
            && sequence <= last.sequence
        {
            return if last.has_seen(sequence) {
                Inserted::Duplicate
            } else {
                Inserted::Late
            };
        }
        let place = self.entries.partition_point(|entry| entry.sequence < sequence);
        if self.entries.get(place).is_some_and(|entry| entry.sequence == sequence) {
            return Inserted::Duplicate;
        }
        let is_newest = place == self.entries.len();
        if !is_newest && !anew && self.last.is_some_and(|last| kind != Kind::Event && at < last.cursor) {
            // Something else has been heard in its place.
            return Inserted::Late;
        }
        let parts = payload.len().div_ceil(SLOT).max(1);
        if self.free.len() < parts {
            return Inserted::Overflow;
        }
        let packet_ticks = kind.ticks(payload);
        if self.last.is_some() && kind != Kind::Event {
            let wait_us = self.us(at) + self.arrivals.floor_us().unwrap_or_default() + self.delay_us - now_us;
            let usual_us = self.us(2 * i64::from(packet_ticks)).max(self.period_us) + HYSTERESIS_US;
            self.counts.early += u64::from(wait_us > usual_us);
        }
        let mut at = at;
        for part in 0..parts {
            let bytes = &payload[part * SLOT..payload.len().min((part + 1) * SLOT)];
            let ticks = kind.ticks(bytes);
            let Some(slot) = self.free.pop() else {
                return Inserted::Overflow;
            };
            self.bytes[usize::from(slot)][..bytes.len()].copy_from_slice(bytes);
            let entry = Entry {
                sequence,
                part: part as u8,
                at,
                ticks,
                packet_ticks,
                kind,
                anew: anew && part == 0,
                header: *header,
                slot,
                length: bytes.len() as u8,
            };
            self.entries.insert(place + part, entry);
            at += i64::from(ticks);
        }
        if let (Kind::Audio { .. }, Some(source)) = (kind, &mut self.source) {
            source.end = source.end.max(at);
        }
        Inserted::Waits
    }

    /// Where a packet belongs: sequence number, media time, and whether a timeline begins with it. `None` if it belongs
    /// to one that is over.
    fn place(&mut self, header: &RtpHeader, kind: Kind, now_us: i64) -> Option<(i64, i64, bool)> {
        let known = self.source.filter(|source| {
            let ahead = header.sequence().wrapping_sub(source.sequence);
            source.ssrc == header.ssrc() && !(MAX_DROPOUT..=u16::MAX - MAX_MISORDER).contains(&ahead)
        });
        let Some(mut source) = known else {
            return Some(self.begin(header, now_us));
        };
        let ahead = i64::from(header.sequence().wrapping_sub(source.sequence) as i16);
        let sequence = source.extended + ahead;
        let since = i64::from(header.timestamp().wrapping_sub(source.timestamp) as i32);
        let mut at = source.at + since;
        let mut anew = false;
        if kind == Kind::Event {
            // All packets of an event have the timestamp of its beginning: their arrival says nothing.
            if (at - source.end).abs() > EVENT_NEARBY {
                at = source.end;
            }
        } else {
            let transit_us = now_us - self.us(at);
            let floor_us = self.arrivals.floor_us().unwrap_or(transit_us);
            let longest_us = micros(self.limits.max) + TOO_LATE_US;
            if !(-TOO_SOON_US..=longest_us).contains(&(transit_us - floor_us)) {
                if ahead <= 0 {
                    return None;
                }
                at = self.now_at(now_us);
                anew = true;
                self.arrivals.restart();
            }
            self.arrivals.on_packet(now_us - self.us(at), now_us);
        }
        if ahead > 0 {
            source.sequence = header.sequence();
            source.extended = sequence;
            if kind != Kind::Event {
                (source.timestamp, source.at) = (header.timestamp(), at);
            }
        }
        self.source = Some(source);
        Some((sequence, at, anew))
    }

    /// A packet with which a sender begins.
    fn begin(&mut self, header: &RtpHeader, now_us: i64) -> (i64, i64, bool) {
        let sequence = self.source.map_or(0, |source| source.extended + 1);
        let at = self.now_at(now_us);
        self.arrivals.restart();
        self.arrivals.on_packet(now_us - self.us(at), now_us);
        self.source = Some(Source {
            ssrc: header.ssrc(),
            sequence: header.sequence(),
            extended: sequence,
            timestamp: header.timestamp(),
            at,
            end: at,
        });
        (sequence, at, true)
    }

    /// The media time of a packet that comes now by the fastest way.
    fn now_at(&self, now_us: i64) -> i64 {
        let floor_us = self.arrivals.floor_us().unwrap_or_default();
        self.ticks(now_us - floor_us)
    }
}

impl Last {
    /// The state in which `head` is next.
    fn before(head: &Entry) -> Self {
        Self {
            sequence: head.sequence - 1,
            cursor: head.at,
            held: 0,
            paused: false,
            seen: 0,
        }
    }

    /// A packet was handed out or left out.
    fn pass(&mut self, sequence: i64) {
        let ahead = sequence - self.sequence;
        self.seen = match u32::try_from(ahead) {
            Ok(0) => self.seen,
            Ok(ahead) => self.seen.checked_shl(ahead).unwrap_or(0) | 1,
            Err(_) => 0,
        };
        self.sequence = self.sequence.max(sequence);
    }

    fn has_seen(&self, sequence: i64) -> bool {
        let behind = u32::try_from(self.sequence - sequence).unwrap_or(u32::MAX);
        self.seen.checked_shr(behind).unwrap_or(0) & 1 == 1
    }
}

fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn filling(paused: bool, ticks: u32) -> Next<'static> {
    if paused {
        Next::Pause(ticks)
    } else {
        Next::Missing(ticks)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
