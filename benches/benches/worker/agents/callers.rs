//! The callers: packets of 20 ms to every leg, and what comes back is looked at one by one.
//!
//! All share one socket, and each packet has the time at which the system took it from the gateway: what counts is when it
//! was sent, not when this thread came to look.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use voxlane_benches::datagrams::{Datagrams, receive_buffer_and_times};

/// Packet time.
pub const PTIME: Duration = Duration::from_millis(20);

/// What a sent frame may be after its time.
const LATE: i64 = 5_000_000;

/// Bytes of audio in a packet, and of its header.
const AUDIO: usize = 160;
const HEADER: usize = 12;

/// A packet.
pub const PACKET: usize = HEADER + AUDIO;

/// Bytes of one that is received: more than any there will be.
const ROOM: usize = 256;

/// µ-law silence.
const SILENCE: u8 = 0xff;

/// Each half of a packet has its number in it: so much audio has at least one whole mark, wherever it begins.
const HALF: usize = AUDIO / 2;

/// Samples after which these numbers begin anew.
const SAMPLES: u32 = (1 << 14) * HALF as u32;

/// One caller.
struct Caller {
    gateway: SocketAddr,
    packet: [u8; PACKET],
    /// Sequence number and timestamp of the last packet.
    last: Option<(u16, u32)>,
    /// The sample that is to be heard next, of those the caller sends.
    next: Option<u32>,
    first_timestamp: u32,
    came: Vec<Came>,
}

/// A packet that came.
#[derive(Clone, Copy)]
struct Came {
    /// When, ns since 1970.
    at: i64,
    /// Its media time, ns.
    due: i64,
}

/// All callers.
pub struct Callers {
    socket: UdpSocket,
    datagrams: Box<Datagrams<ROOM>>,
    callers: Vec<Caller>,
    /// The caller of each port of the gateway.
    by_port: Vec<Option<usize>>,
    number: u32,
    counts: Counts,
}

/// What went wrong, and what did not, in packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// That came.
    pub received: u64,
    /// Whose sequence number or timestamp does not follow that before.
    pub broken: u64,
    /// With silence instead of what the bot has said.
    pub silent: u64,
    /// With which what is heard does not go on where the packet before has ended.
    pub jumps: u64,
}

/// Whether what comes is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Yes,
    No,
}

impl Callers {
    /// Nobody yet, behind this socket. There will be this many, who will measure this many packets each.
    pub fn new(socket: UdpSocket, callers: usize, packets: usize) -> Result<Self> {
        socket.set_nonblocking(true)?;
        receive_buffer_and_times(&socket)?;
        let caller = || Caller {
            gateway: ([0; 4], 0).into(),
            packet: [0; PACKET],
            last: None,
            next: None,
            first_timestamp: 0,
            came: Vec::with_capacity(packets),
        };
        Ok(Self {
            socket,
            datagrams: Box::default(),
            callers: std::iter::repeat_with(caller).take(callers).collect(),
            by_port: vec![None; 1 << 16],
            number: 0,
            counts: Counts::default(),
        })
    }

    /// The leg that a caller talks to.
    pub fn set_gateway(&mut self, place: usize, gateway: SocketAddr) {
        let caller = &mut self.callers[place];
        caller.gateway = gateway;
        caller.packet[0] = 0x80;
        caller.packet[8..HEADER].copy_from_slice(&(place as u32).to_be_bytes());
        self.by_port[usize::from(gateway.port())] = Some(place);
    }

    /// Every caller sends one packet in each packet time, spread over it; looks each millisecond for what has come.
    pub fn talk(&mut self, packets: usize, count: Count) -> Result<()> {
        let begin = Instant::now();
        let groups = PTIME.as_millis() as usize;
        for time in 0..packets * groups {
            let due = begin + Duration::from_millis(time as u64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let group = time % groups;
            let talking = self.callers.iter_mut().skip(group).step_by(groups);
            let packets = talking.map(|caller| {
                caller.write(self.number);
                (&caller.packet[..], caller.gateway)
            });
            self.datagrams.send(&self.socket, packets)?;
            if group == groups - 1 {
                self.number += 1;
            }
            self.receive(count)?;
        }
        Ok(())
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When packets came that were late by the grid of their call, whose origin is the earliest that any packet of it allows,
    /// ns since 1970.
    pub fn late(&self) -> Vec<i64> {
        let late = |caller: &Caller| -> Vec<i64> {
            let earliest = caller.came.iter().map(Came::lag).min().unwrap_or_default();
            let late = caller.came.iter().filter(|came| came.lag() - earliest > LATE);
            late.map(|came| came.at).collect()
        };
        self.callers.iter().flat_map(late).collect()
    }

    fn receive(&mut self, count: Count) -> Result<()> {
        let Self {
            socket,
            datagrams,
            callers,
            by_port,
            counts,
            ..
        } = self;
        datagrams.receive(socket, |packet, port, at| {
            // A report is not media.
            let is_media = packet.len() == PACKET && !(200..=204).contains(&packet[1]);
            if let (true, Some(place)) = (is_media, by_port[usize::from(port)]) {
                callers[place].take(packet, at, count, counts);
            }
        })
    }
}

impl Caller {
    /// The packet of this number, with its marks, and never silent.
    fn write(&mut self, number: u32) {
        self.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&number.wrapping_mul(AUDIO as u32).to_be_bytes());
        let audio = &mut self.packet[HEADER..];
        for (place, code) in audio.iter_mut().enumerate() {
            *code = 0x80 | ((place as u32 * 37 + number * 11) % 100) as u8;
        }
        for (half, audio) in audio.chunks_mut(HALF).enumerate() {
            audio[..2].copy_from_slice(&mark(2 * number + half as u32));
        }
    }

    fn take(&mut self, packet: &[u8], at: i64, count: Count, counts: &mut Counts) {
        let word = |place| u16::from_be_bytes([packet[place], packet[place + 1]]);
        let (sequence, timestamp) = (word(2), u32::from(word(4)) << 16 | u32::from(word(6)));
        let last = self.last.replace((sequence, timestamp));
        let audio = &packet[HEADER..];
        let begin = first_sample(audio);
        let next = std::mem::replace(&mut self.next, begin.map(|begin| (begin + AUDIO as u32) % SAMPLES));
        if count == Count::No {
            self.first_timestamp = timestamp;
            return;
        }
        counts.received += 1;
        let follows = last.is_none_or(|(sequence_before, timestamp_before)| {
            sequence == sequence_before.wrapping_add(1) && timestamp == timestamp_before.wrapping_add(AUDIO as u32)
        });
        counts.broken += u64::from(!follows);
        counts.silent += u64::from(audio.iter().all(|code| *code == SILENCE));
        counts.jumps += u64::from(begin.is_none() || begin != next);
        let samples = i64::from(timestamp.wrapping_sub(self.first_timestamp) as i32);
        let due = samples * 125_000;
        self.came.push(Came { at, due });
    }
}

impl Came {
    /// How long after its media time, by clocks that began at different times.
    fn lag(&self) -> i64 {
        self.at - self.due
    }
}

/// Fourteen bits of a half packet's number as two codes, which are below all the others.
fn mark(number: u32) -> [u8; 2] {
    [number >> 7, number].map(|bits| (bits & 0x7f) as u8)
}

/// The number of the first sample among all that a caller sends, by the first mark. Audio that was made shorter or longer
/// before does not begin with a packet.
fn first_sample(audio: &[u8]) -> Option<u32> {
    let mut pairs = audio.windows(2).enumerate();
    pairs.find_map(|(place, codes)| match codes {
        [high @ ..0x80, low @ ..0x80] => {
            let begin = (u32::from(*high) << 7 | u32::from(*low)) * HALF as u32;
            Some((begin + SAMPLES - place as u32) % SAMPLES)
        }
        _ => None,
    })
}
