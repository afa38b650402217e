//! The callers: packets of 20 ms to every leg, and what comes back is looked at one by one.
//!
//! All share one socket, and each packet has the time at which the system took it from the gateway: what counts is when it
//! was sent, not when this thread came to look.

#![allow(unsafe_code, reason = "the system tells when a packet came by way of recvmsg only")]

use std::io::{self, ErrorKind};
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use socket2::SockRef;

/// Packet time.
pub const PTIME: Duration = Duration::from_millis(20);

/// What a sent frame may be after its time.
const LATE: i64 = 5_000_000;

/// Bytes of audio in a packet, and of its header.
const AUDIO: usize = 160;
const HEADER: usize = 12;

/// µ-law silence.
const SILENCE: u8 = 0xff;

/// Room for what comes while this thread is not running.
const QUEUE: usize = 8 << 20;

/// One caller.
struct Caller {
    gateway: SocketAddr,
    packet: [u8; HEADER + AUDIO],
    /// Sequence number and timestamp of the last packet.
    last: Option<(u16, u32)>,
    /// The number that the caller has given to what it heard last.
    heard: Option<u16>,
    first_timestamp: u32,
    /// When each packet came, less its media time, ns.
    came: Vec<i64>,
}

/// All callers.
pub struct Callers {
    socket: UdpSocket,
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
    /// That are not the next after that before of those the caller sent.
    pub unheard: u64,
}

/// Whether what comes is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Yes,
    No,
}

impl Callers {
    /// A socket, and nobody yet. There will be this many, who will measure this many packets each.
    pub fn new(callers: usize, packets: usize) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let (on, descriptor) = (1i32, socket.as_raw_fd());
        for (option, value) in [(libc::SO_TIMESTAMPNS, on), (libc::SO_RCVBUFFORCE, QUEUE as i32)] {
            // SAFETY: the option is a number, and `value` one.
            let set = unsafe {
                libc::setsockopt(
                    descriptor,
                    libc::SOL_SOCKET,
                    option,
                    (&raw const value).cast(),
                    size_of::<i32>() as libc::socklen_t,
                )
            };
            if set != 0 && option == libc::SO_TIMESTAMPNS {
                bail!("no times of packets: {}", io::Error::last_os_error());
            }
            if set != 0 {
                // Not root: what the system allows must do.
                SockRef::from(&socket).set_recv_buffer_size(QUEUE)?;
            }
        }
        let caller = || Caller {
            gateway: (Ipv4Addr::LOCALHOST, 0).into(),
            packet: [0; HEADER + AUDIO],
            last: None,
            heard: None,
            first_timestamp: 0,
            came: Vec::with_capacity(packets),
        };
        Ok(Self {
            socket,
            callers: std::iter::repeat_with(caller).take(callers).collect(),
            by_port: vec![None; 1 << 16],
            number: 0,
            counts: Counts::default(),
        })
    }

    /// Where the gateway is to send to.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
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
            for caller in self.callers.iter_mut().skip(group).step_by(groups) {
                caller.write(self.number);
                self.socket.send_to(&caller.packet, caller.gateway)?;
            }
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

    /// Packets that were late by the grid of their call, whose origin is the earliest that any packet of it allows.
    pub fn late(&self) -> u64 {
        let late = |caller: &Caller| {
            let earliest = caller.came.iter().min().copied().unwrap_or_default();
            caller.came.iter().filter(|came| **came - earliest > LATE).count() as u64
        };
        self.callers.iter().map(late).sum()
    }

    fn receive(&mut self, count: Count) -> Result<()> {
        let mut buffer = [0; 512];
        loop {
            let (length, port, at) = match receive(&self.socket, &mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let packet = &buffer[..length.min(buffer.len())];
            // A report is not media.
            let is_media = packet.len() == HEADER + AUDIO && !(200..=204).contains(&packet[1]);
            if let (true, Some(place)) = (is_media, self.by_port[usize::from(port)]) {
                self.callers[place].take(packet, at, count, &mut self.counts);
            }
        }
    }
}

impl Caller {
    /// The packet of this number, which is in its audio too, and never silent.
    fn write(&mut self, number: u32) {
        self.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&number.wrapping_mul(AUDIO as u32).to_be_bytes());
        let audio = &mut self.packet[HEADER..];
        audio[..2].copy_from_slice(&marked(number));
        for (place, code) in audio[2..].iter_mut().enumerate() {
            *code = 0x80 | ((place as u32 * 37 + number * 11) % 100) as u8;
        }
    }

    fn take(&mut self, packet: &[u8], at: i64, count: Count, counts: &mut Counts) {
        let word = |place| u16::from_be_bytes([packet[place], packet[place + 1]]);
        let (sequence, timestamp) = (word(2), u32::from(word(4)) << 16 | u32::from(word(6)));
        let last = self.last.replace((sequence, timestamp));
        let audio = &packet[HEADER..];
        let number = u16::from(audio[0] & 0x7f) << 7 | u16::from(audio[1] & 0x7f);
        let heard = self.heard.replace(number);
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
        counts.unheard += u64::from(heard.is_some_and(|before| number != before.wrapping_add(1) & 0x3fff));
        let samples = i64::from(timestamp.wrapping_sub(self.first_timestamp) as i32);
        self.came.push(at - samples * 125_000);
    }
}

/// Fourteen bits of a number as two codes.
fn marked(number: u32) -> [u8; 2] {
    [number >> 7, number].map(|bits| (bits & 0x7f) as u8)
}

/// The next datagram: its length, the port it is from, and when the system had it, ns.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, u16, i64)> {
    let mut from = MaybeUninit::<libc::sockaddr_in>::zeroed();
    // Aligned as its headers have to be.
    let mut control = [0u64; 8];
    let mut piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: zeros are a message header.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = from.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: everything that the header points to lives, and has the length it says.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let Ok(length) = usize::try_from(received) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: zeros were an address; the socket is of IPv4.
    let from = unsafe { from.assume_init() };
    // SAFETY: the header is as the system has filled it in.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: if there is one it is in `control`.
    let is_time = !header.is_null() && unsafe { (*header).cmsg_type } == libc::SCM_TIMESTAMPNS;
    if !is_time {
        return Err(io::Error::other("a packet without a time"));
    }
    // SAFETY: that is what a time's data are.
    let time: libc::timespec = unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
    let at = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    Ok((length, u16::from_be(from.sin_port), at))
}
