//! Far ends that send without a pause, and what is heard of them at the other end.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use voxlane_dataplane::codec::g711::{linear_to_ulaw, ulaw_to_linear};

/// Long enough for any machine: only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every so many packets a key is pressed.
const CYCLE: u64 = 40;
/// So long, in packets; the last three say that it has been released.
const PRESS: u64 = 6;

const SAMPLES: u32 = 160;

/// Packets that may be under way from one far end to the other, so that a machine too slow for them loses none in its
/// sockets.
const UNDER_WAY: u64 = 64;

/// How many packets of each of two far ends the other has heard.
#[derive(Clone, Debug, Default)]
pub struct Window {
    heard_of_me: Arc<AtomicU64>,
    heard_by_me: Arc<AtomicU64>,
}

impl Window {
    /// The same, seen from the other far end.
    pub fn other(&self) -> Self {
        Self {
            heard_of_me: Arc::clone(&self.heard_by_me),
            heard_by_me: Arc::clone(&self.heard_of_me),
        }
    }
}

/// A stream as it is sent: a sine, and a key now and then. Every packet can be made again, to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    /// Payload type of telephone events.
    pub event: u8,
}

impl Stream {
    /// Packet `n`, with events under `event`.
    pub fn packet(&self, n: u64, event: u8) -> Vec<u8> {
        let place = n % CYCLE;
        let is_event = place >= CYCLE - PRESS;
        // Of a press every packet has the time of its beginning.
        let begun = if is_event { n - (place - (CYCLE - PRESS)) } else { n };
        let mut packet = vec![0x80, if is_event { event } else { 0 }];
        packet.extend(self.sequence.wrapping_add(n as u16).to_be_bytes());
        let timestamp = self.timestamp.wrapping_add(begun as u32 * SAMPLES);
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        if is_event {
            let [high, low] = ((n - begun + 1) as u16 * SAMPLES as u16).to_be_bytes();
            let end = if place >= CYCLE - 3 { 0x80 } else { 0 };
            packet.extend([5, end | 10, high, low]);
        } else {
            packet.extend((0..SAMPLES).map(|sample| linear_to_ulaw(sine(n * u64::from(SAMPLES) + u64::from(sample)))));
        }
        packet
    }

    /// The number of a packet that has arrived, if it is one of the first 65,536 of this stream.
    pub fn number(&self, packet: &[u8]) -> u64 {
        u64::from(sequence(packet).wrapping_sub(self.sequence))
    }

    /// Keys that are pressed in the first `packets`.
    pub fn keys(packets: u64) -> u64 {
        (packets + 2) / CYCLE
    }

    /// Whether these are the packets `from..to`, each once, whole, with events under `event`, in any order; returns how
    /// many of them came after a later one.
    pub fn complete(&self, heard: &[Vec<u8>], from: u64, to: u64, event: u8) -> usize {
        let numbers: Vec<u64> = heard.iter().map(|packet| self.number(packet)).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert!(
            sorted.iter().copied().eq(from..to),
            "not {from}..{to} once each: {:?}",
            unlike(&sorted, from, to)
        );
        for (number, packet) in numbers.iter().zip(heard) {
            assert_eq!(*packet, self.packet(*number, event), "packet {number}");
        }
        numbers.windows(2).filter(|pair| pair[1] < pair[0]).count()
    }
}

/// A loud 200 Hz: between two samples it never moves by more than [`STEP`].
fn sine(sample: u64) -> i16 {
    let phase = (sample % 40) as f64 / 40.0 * std::f64::consts::TAU;
    (12_000.0 * phase.sin()) as i16
}

/// Steepest step between two samples of the sine, with what G.711 rounds.
const STEP: i32 = 12_000 * 157 / 1000 + 2 * 512;

/// What a receiver plays: media by its timestamps. There is no sample without a packet and no jump that the source does not
/// make; the time of keys is left out. Returns how many samples were played.
pub fn recording(heard: &[Vec<u8>]) -> usize {
    let audio: Vec<&Vec<u8>> = heard.iter().filter(|packet| packet[1] & 0x7f == 0).collect();
    let first = audio
        .iter()
        .map(|packet| timestamp(packet))
        .fold(None, |first: Option<u32>, next| {
            Some(first.map_or(next, |first| {
                if (next.wrapping_sub(first) as i32) < 0 {
                    next
                } else {
                    first
                }
            }))
        });
    let first = first.unwrap();
    let mut packets: Vec<(u32, &Vec<u8>)> = audio
        .into_iter()
        .map(|packet| (timestamp(packet).wrapping_sub(first), packet))
        .collect();
    packets.sort_unstable_by_key(|(at, _)| *at);
    let (mut end, mut last, mut played) = (0, None::<i32>, 0);
    for (at, packet) in packets {
        assert!(
            at == end || at == end + PRESS as u32 * SAMPLES,
            "a gap of {} samples",
            at as i64 - i64::from(end)
        );
        for code in &packet[12..] {
            let sample = i32::from(ulaw_to_linear(*code));
            // Six packets are 24 whole periods: the sine goes on where it was when the key was pressed.
            if let Some(last) = last {
                assert!((sample - last).abs() <= STEP, "a jump from {last} to {sample} at {at}");
            }
            last = Some(sample);
            played += 1;
        }
        end = at + SAMPLES;
    }
    played
}

fn unlike(sorted: &[u64], from: u64, to: u64) -> Vec<String> {
    (from..to)
        .filter_map(|number| match sorted.iter().filter(|heard| **heard == number).count() {
            1 => None,
            times => Some(format!("{number} {times} times")),
        })
        .take(20)
        .collect()
}

pub fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

pub fn timestamp(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

pub fn ssrc(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]])
}

/// A packet and when it came.
pub type Arrival = (Instant, Vec<u8>);

/// A far end at work: it sends its stream, and keeps what it hears.
pub struct Far {
    pub stream: Stream,
    hushed: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    heard: Arc<Mutex<Vec<Arrival>>>,
    sender: Option<JoinHandle<()>>,
    receiver: Option<JoinHandle<()>>,
}

impl Far {
    /// Sends a packet every `spacing` from `socket` to `to`, and hears what comes there. With a window it waits while too
    /// many are under way.
    pub fn start(
        socket: &UdpSocket,
        to: SocketAddr,
        stream: Stream,
        spacing: Duration,
        window: Option<&Window>,
    ) -> Self {
        let hushed = Arc::new(AtomicBool::new(false));
        let gone = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let heard = Arc::new(Mutex::new(Vec::new()));
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (out, inwards) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
        let sender = std::thread::spawn({
            let (hushed, sent) = (Arc::clone(&hushed), Arc::clone(&sent));
            let arrived = window.map(|window| Arc::clone(&window.heard_of_me));
            move || {
                let mut due = Instant::now();
                while !hushed.load(Relaxed) {
                    let n = sent.load(Relaxed);
                    if arrived
                        .as_ref()
                        .is_some_and(|arrived| n >= arrived.load(Relaxed) + UNDER_WAY)
                    {
                        std::thread::sleep(spacing);
                        due = Instant::now();
                        continue;
                    }
                    out.send_to(&stream.packet(n, stream.event), to).unwrap();
                    sent.store(n + 1, Relaxed);
                    due += spacing;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }
        });
        let receiver = std::thread::spawn({
            let (gone, heard) = (Arc::clone(&gone), Arc::clone(&heard));
            let count = window.map(|window| Arc::clone(&window.heard_by_me));
            move || {
                let mut buffer = [0; 2048];
                loop {
                    match inwards.recv(&mut buffer) {
                        Ok(length) => {
                            let arrival = (Instant::now(), buffer[..length].to_vec());
                            heard.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
                            if let Some(count) = &count {
                                count.fetch_add(1, Relaxed);
                            }
                        }
                        Err(_) if gone.load(Relaxed) => return,
                        Err(_) => {}
                    }
                }
            }
        });
        Self {
            stream,
            hushed,
            gone,
            sent,
            heard,
            sender: Some(sender),
            receiver: Some(receiver),
        }
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Packets heard so far.
    pub fn count(&self) -> usize {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.arrivals().into_iter().map(|(_, packet)| packet).collect()
    }

    /// The same, with the times of arrival.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many more packets that `are` so have been heard.
    pub fn wait_for(&self, more: usize, are: impl Fn(&[u8]) -> bool) {
        let from = self.count();
        let deadline = Instant::now() + PATIENCE;
        let enough = || {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard[from..].iter().filter(|(_, packet)| are(packet)).count() >= more
        };
        while !enough() {
            assert!(
                Instant::now() < deadline,
                "no more than {} packets arrive",
                self.count()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends no more; returns how many packets it has sent.
    pub fn hush(&mut self) -> u64 {
        self.hushed.store(true, Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().unwrap();
        }
        self.sent()
    }

    /// Waits until so many packets have been heard, and no more come; all of them.
    pub fn listen(&mut self, packets: u64) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        while (self.count() as u64) < packets && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.gone.store(true, Relaxed);
        if let Some(receiver) = self.receiver.take() {
            receiver.join().unwrap();
        }
        self.heard()
    }
}
