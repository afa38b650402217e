//! Media that a benchmark sends and receives: what the programs `offer` and `collect` write and read, and what they have
//! seen.
//!
//! Every packet carries a [`Mark`] in its payload: the number of its flow, how many of that flow went before it, and when it
//! left. So the far end knows what is missing, what came late and how long each took, whatever became of its headers on the
//! way. It is an RTP packet in every other respect, with right checksums.

use bytemuck::{Pod, Zeroable};

use super::{Course, HEADERS, Target, WORDS, halves};

/// Words of 64 bits that `offer` writes: the headers, and the mark.
pub const MARKED_WORDS: usize = WORDS + 3;

/// Most flows of both ends.
pub const MAX_FLOWS: u32 = 65_536;

/// Tells the packets of a benchmark from others.
const MAGIC: u32 = u32::from_be_bytes(*b"vxln");

/// Buckets of one doubling of the time a packet takes.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 4;

/// Buckets of [`bucket`].
pub const BUCKETS: u32 = 640;

/// What the payload of a packet says of it, in the byte order of this machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Mark {
    magic: u32,
    /// The flow it is of.
    pub flow: u32,
    /// How many packets of the flow went before it.
    pub count: u64,
    /// When it left, ns since the machine started.
    pub left_ns: u64,
}

/// Where the mark begins in the frame: behind the headers.
pub const MARK_AT: usize = HEADERS;

/// A frame can bear a mark from this length on.
pub const SHORTEST: usize = MARKED_WORDS * 8;

impl Mark {
    /// The mark of a packet.
    #[inline(always)]
    pub const fn new(flow: u32, count: u64, left_ns: u64) -> Self {
        Self {
            magic: MAGIC,
            flow,
            count,
            left_ns,
        }
    }

    /// What a packet has where its mark should be; `None` if it is no packet of a benchmark.
    #[inline(always)]
    pub const fn read(magic: u32, flow: u32, count: u64, left_ns: u64) -> Option<Self> {
        match magic {
            MAGIC => Some(Self::new(flow, count, left_ns)),
            _ => None,
        }
    }

    /// What tells it from whatever else may stand in its place.
    #[inline(always)]
    pub const fn magic(&self) -> u32 {
        self.magic
    }

    #[inline(always)]
    const fn words(&self) -> [u64; 3] {
        [self.magic as u64 | (self.flow as u64) << 32, self.count, self.left_ns]
    }
}

/// Headers and mark of the next packet of `target`. The frame that `course` was made from has zeros where the mark is.
#[inline(always)]
pub fn marked(course: &Course, target: &Target, mark: &Mark) -> [u64; MARKED_WORDS] {
    let [what, count, left] = mark.words();
    let headers = course.headers_with(target, quarters(what) + quarters(count) + quarters(left));
    let mut words = [0; MARKED_WORDS];
    let mut word = 0;
    while word < WORDS {
        words[word] = headers[word];
        word += 1;
    }
    words[WORDS] = what;
    words[WORDS + 1] = count;
    words[WORDS + 2] = left;
    words
}

/// The four 16-bit words, added.
#[inline(always)]
const fn quarters(value: u64) -> u32 {
    halves(value as u32) + halves((value >> 32) as u32)
}

/// What is offered, and how far it has got. One entry.
///
/// Flows take turns, those of the one end and of the other: even numbers are the first end's, odd ones the second's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Offer {
    /// Flows of both ends; with none, nothing is sent.
    pub flows: u32,
    /// The flow of the next packet.
    pub next: u32,
    /// Indices of the interfaces that the ends send by.
    pub interfaces: [u32; 2],
    /// From one packet to the next, in parts of a nanosecond: [`PARTS`].
    pub interval: u64,
    /// When the next packet is due, in the same parts since the machine started; 0 before the first.
    pub due: u64,
    /// Packets sent.
    pub sent: u64,
    /// How often no packet was due.
    pub idle: u64,
    /// Packets that were left out, because the sender had been kept from sending.
    pub missed: u64,
}

/// Parts of a nanosecond.
pub const PARTS: u64 = 1024;

/// Who is later than this has been kept from sending, and does not make up for it: a carrier does not send twice as fast
/// after a pause of this machine. In [`PARTS`].
const LATE: u64 = 1_000_000 * PARTS;

impl Offer {
    /// Which flow's packet is due, if one is.
    #[inline(always)]
    pub const fn take(&mut self, now_ns: u64) -> Option<u32> {
        let now = now_ns * PARTS;
        if self.flows == 0 || now < self.due {
            self.idle += 1;
            return None;
        }
        if now - self.due > LATE {
            if let (true, Some(packets)) = (self.due != 0, (now - self.due).checked_div(self.interval)) {
                self.missed += packets;
            }
            self.due = now;
        }
        self.due += self.interval;
        self.sent += 1;
        let flow = self.next;
        self.next = if flow + 1 < self.flows { flow + 1 } else { 0 };
        Some(flow)
    }
}

/// What has come of one flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Received {
    /// Packets.
    pub packets: u64,
    /// One more than the highest count that came.
    pub next: u64,
    /// Packets that came after one that had left later.
    pub late: u64,
}

impl Received {
    /// Takes note of a packet.
    #[inline(always)]
    pub const fn on(&mut self, count: u64) {
        self.packets += 1;
        if count >= self.next {
            self.next = count + 1;
        } else {
            self.late += 1;
        }
    }
}

/// The bucket of a time: sixteen of equal width for each doubling, so that it is told within a sixteenth.
#[inline(always)]
pub const fn bucket(ns: u64) -> u32 {
    if ns < STEPS {
        return ns as u32;
    }
    let doublings = log2(ns) - STEP_BITS;
    let place = (doublings + 1) * STEPS as u32 + ((ns >> doublings) - STEPS) as u32;
    if place < BUCKETS { place } else { BUCKETS - 1 }
}

/// The longest time in a bucket, ns.
pub const fn longest(bucket: u32) -> u64 {
    let (doublings, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    match doublings {
        0 => step,
        doublings => ((STEPS + step + 1) << (doublings - 1)) - 1,
    }
}

/// The place of the highest bit, which the kernel's machine has no instruction for.
#[inline(always)]
const fn log2(value: u64) -> u32 {
    let mut rest = value;
    let mut place = 0;
    let mut half = 32;
    while half > 0 {
        if rest >> half != 0 {
            rest >>= half;
            place += half;
        }
        half /= 2;
    }
    place
}

/// Declares map values.
#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C) of plain integers, without padding or invalid values (bytemuck::Pod is derived).
    unsafe impl aya::Pod for super::Offer {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Received {}
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::lab::sum;

    #[test]
    fn a_marked_packet_has_right_checksums() {
        let mut frame: Vec<u8> = std::vec![0x5a; 214];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14..24].copy_from_slice(&[0x45, 0, 0, 200, 0, 7, 0, 0, 9, 17]);
        frame[38..40].copy_from_slice(&[0, 180]);
        frame[42..44].copy_from_slice(&[0x80, 0]);
        frame[MARK_AT..SHORTEST].fill(0);
        let course = Course::new(&frame, 1).unwrap();
        let target = Target::new("192.0.2.1:4001".parse().unwrap(), "198.51.100.9:65535".parse().unwrap());
        for mark in [Mark::new(0, 0, 0), Mark::new(31_999, u64::MAX, 0xfedc_ba98_7654_3210)] {
            frame[..SHORTEST].copy_from_slice(bytemuck::bytes_of(&marked(&course, &target, &mark)));
            let folded = |sum: u32| halves(halves(sum));
            assert_eq!(folded(sum(&frame[14..34])), 0xffff);
            let pseudo_header = sum(&[0, 17]) + sum(&frame[38..40]) + sum(&frame[26..34]);
            assert_eq!(folded(pseudo_header + sum(&frame[34..])), 0xffff);
            let read: Mark = bytemuck::pod_read_unaligned(&frame[MARK_AT..SHORTEST]);
            assert_eq!(read, mark);
            assert_eq!(Mark::read(read.magic, read.flow, read.count, read.left_ns), Some(mark));
        }
        assert_eq!(Mark::read(0, 0, 0, 0), None);
    }

    #[test]
    fn packets_leave_at_an_even_pace_and_a_pause_is_not_made_up_for() {
        let mut offer = Offer {
            flows: 3,
            interval: 10_000 * PARTS,
            ..Offer::default()
        };
        let start = 5_000_000_000;
        let taken: Vec<_> = (0..40_000).step_by(5_000).map(|ns| offer.take(start + ns)).collect();
        assert_eq!(taken, [Some(0), None, Some(1), None, Some(2), None, Some(0), None]);
        assert_eq!((offer.sent, offer.idle, offer.missed), (4, 4, 0));
        // Half a millisecond later they are sent one after the other; two later they are left out.
        assert!((0..40).all(|_| offer.take(start + 500_000).is_some()));
        assert_eq!(
            (offer.take(start + 3_000_000), offer.take(start + 3_000_000)),
            (Some(2), None)
        );
        assert_eq!(offer.missed, 256);
    }

    #[test]
    fn what_is_missing_and_what_came_late_is_told_apart() {
        let mut received = Received::default();
        for count in [0, 1, 3, 2, 6] {
            received.on(count);
        }
        assert_eq!(
            received,
            Received {
                packets: 5,
                next: 7,
                late: 1
            }
        );
    }

    #[test]
    fn every_time_is_in_a_bucket_that_is_at_most_a_sixteenth_too_long() {
        for ns in (0..5_000).chain((13..40).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) * 4 / 3])) {
            let longest = longest(bucket(ns));
            assert!(
                ns <= longest && longest <= ns + ns / 16,
                "{ns} ns in {}, to {longest}",
                bucket(ns)
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!((1..BUCKETS).all(|bucket| longest(bucket) > longest(bucket - 1)));
    }
}
