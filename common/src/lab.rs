//! What the lab programs of the kernel lane and the code that drives them agree on (feature `lab`).
//!
//! The program `spread` writes the headers of a packet of one flow of many before the program under test sees the frame. [`Course`] holds what all those packets share, [`Target`] what makes a packet one of a certain flow.

#![allow(unsafe_code)]

pub mod traffic;

use core::net::SocketAddrV4;

use bytemuck::{Pod, Zeroable};

/// Words of 64 bits that `spread` writes: Ethernet, IPv4 without options, UDP, RTP, and two bytes of payload.
pub const WORDS: usize = 7;

/// The same, in bytes.
pub const HEADERS: usize = WORDS * 8;

/// Most flows that `spread` can go through.
pub const MAX_TARGETS: u32 = 16_384;

/// A media clock advances by this much a packet: 20 ms at 8000 Hz.
const TIMESTAMP_STEP: u32 = 160;

// Words are composed in registers; the other byte order would need the other half of every shift.
const _: () = assert!(cfg!(target_endian = "little"), "the lab runs on little-endian machines");

/// A flow as the packets that arrive on it show it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Target {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    /// RTP sequence number of the flow's last packet; counted by `spread`.
    pub sequence: u32,
}

impl Target {
    /// The flow of what `source` sends to `destination`.
    pub const fn new(source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            source: source.ip().octets(),
            destination: destination.ip().octets(),
            source_port: source.port().to_be_bytes(),
            destination_port: destination.port().to_be_bytes(),
            sequence: 0,
        }
    }
}

/// What all packets of a run share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Course {
    /// The headers; what differs between packets is zero.
    words: [u64; WORDS],
    /// Sum of the IPv4 header's words, as they lie in memory, without addresses and checksum.
    ip_sum: u32,
    /// Sum of what the UDP checksum covers, without addresses, ports, sequence number, timestamp and checksum.
    udp_sum: u32,
    /// How many flows there are.
    flows: u64,
}

impl Course {
    /// Packets like `frame`, an RTP packet in UDP over IPv4 without options, for the first `flows` targets. `None` if
    /// the frame is shorter than the headers.
    pub fn new(frame: &[u8], flows: u32) -> Option<Self> {
        let mut headers: [u8; HEADERS] = frame.get(..HEADERS)?.try_into().ok()?;
        for differs in [24..38, 40..42, 44..50] {
            headers.get_mut(differs)?.fill(0);
        }
        let udp_length = [headers[38], headers[39]];
        let pseudo_header = word([0, 17]) + word(udp_length);
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(headers.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Some(Self {
            words,
            ip_sum: sum(&headers[14..34]),
            udp_sum: pseudo_header + sum(&headers[34..54]) + sum(frame.get(54..)?),
            flows: u64::from(flows),
        })
    }

    /// Which flow comes after another.
    #[inline(always)]
    pub const fn after(&self, place: u32) -> u32 {
        let next = place as u64 + 1;
        if next < self.flows { next as u32 } else { 0 }
    }

    /// The headers of the next packet of `target`.
    #[inline(always)]
    pub fn headers(&self, target: &Target) -> [u64; WORDS] {
        self.headers_with(target, 0)
    }

    /// The same of a packet whose payload differs from the others': its 16-bit words, where those have zeros, add up to
    /// `payload_sum`.
    #[inline(always)]
    pub fn headers_with(&self, target: &Target, payload_sum: u32) -> [u64; WORDS] {
        let source = u32::from_ne_bytes(target.source);
        let destination = u32::from_ne_bytes(target.destination);
        let source_port = u16::from_ne_bytes(target.source_port);
        let destination_port = u16::from_ne_bytes(target.destination_port);
        let sequence = (target.sequence as u16).to_be();
        let timestamp = target.sequence.wrapping_mul(TIMESTAMP_STEP).to_be();

        let addresses = halves(source) + halves(destination);
        let ip_check = complement(self.ip_sum + addresses);
        let udp_check = complement(
            self.udp_sum
                + addresses
                + source_port as u32
                + destination_port as u32
                + sequence as u32
                + halves(timestamp)
                + payload_sum,
        );

        let mut words = self.words;
        words[3] |= ip_check as u64 | (source as u64) << 16 | (destination as u64) << 48;
        words[4] |= (destination >> 16) as u64 | (source_port as u64) << 16 | (destination_port as u64) << 32;
        words[5] |= udp_check as u64 | (sequence as u64) << 32 | (timestamp as u64) << 48;
        words[6] |= (timestamp >> 16) as u64;
        words
    }
}

/// The two 16-bit halves, added.
#[inline(always)]
const fn halves(value: u32) -> u32 {
    (value & 0xffff) + (value >> 16)
}

/// The Internet checksum of what adds up to `sum`.
#[inline(always)]
const fn complement(sum: u32) -> u16 {
    !(halves(halves(sum)) as u16)
}

fn word(bytes: [u8; 2]) -> u32 {
    u32::from(u16::from_ne_bytes(bytes))
}

/// The sum of 16-bit words, as they lie in memory; a last odd byte is followed by a zero.
fn sum(bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks();
    let odd = rest.first().map_or(0, |last| word([*last, 0]));
    pairs.iter().map(|pair| word(*pair)).sum::<u32>() + odd
}

/// Where an array of flows has those of a local address and port: as [`crate::ports::PortMap`], reduced to what a
/// comparison with a hash needs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Places {
    /// Local addresses as they lie in a packet; 0 marks a free slot.
    pub addresses: [u32; 8],
    /// First port.
    pub first: u32,
    /// Ports for each address.
    pub count: u32,
}

impl Places {
    /// The place of an address, as it lies in a packet, and a port, as a number.
    #[inline(always)]
    pub fn of(&self, address: u32, port: u16) -> Option<u32> {
        let offset = (port as u32).wrapping_sub(self.first);
        if offset >= self.count {
            return None;
        }
        let mut base = 0;
        for slot in &self.addresses {
            if *slot == address {
                return Some(base + offset);
            }
            base += self.count;
        }
        None
    }
}

/// The key of a flow in a hash: local address and port as they lie in a packet, and two zero bytes.
#[inline(always)]
pub const fn key(address: u32, port: u16) -> u64 {
    address as u64 | (port as u64) << 32
}

/// A flow for the comparison of array and hash: one cache line.
pub type Line = [u64; 8];

/// Declares map values.
#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C) of plain integers, without padding or invalid values (bytemuck::Pod is derived).
    unsafe impl aya::Pod for super::Target {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Course {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Places {}
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// An RTP packet of 20 ms, with checksums that are only right after [`Course::headers`].
    fn frame() -> Vec<u8> {
        let mut frame = std::vec![0x5a; 214];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14..24].copy_from_slice(&[0x45, 0, 0, 200, 0, 7, 0, 0, 9, 17]);
        frame[38..40].copy_from_slice(&[0, 180]);
        frame[42..44].copy_from_slice(&[0x80, 0]);
        frame
    }

    fn written(target: &Target) -> Vec<u8> {
        let mut frame = frame();
        let words = Course::new(&frame, 1).unwrap().headers(target);
        frame[..HEADERS].copy_from_slice(bytemuck::bytes_of(&words));
        frame
    }

    fn folded(bytes: &[u8]) -> u32 {
        halves(halves(sum(bytes)))
    }

    #[test]
    fn packets_are_what_they_should_be() {
        let mut target = Target::new("192.0.2.1:4001".parse().unwrap(), "198.51.100.9:65535".parse().unwrap());
        for sequence in [0, 1, 65_535, 70_000] {
            target.sequence = sequence;
            let packet = written(&target);
            assert_eq!(packet[26..38], [192, 0, 2, 1, 198, 51, 100, 9, 0x0f, 0xa1, 0xff, 0xff]);
            assert_eq!(packet[44..46], (sequence as u16).to_be_bytes());
            assert_eq!(packet[46..50], (sequence * 160).to_be_bytes());
            assert_eq!([&packet[..24], &packet[50..]], [&frame()[..24], &frame()[50..]]);
            assert_eq!(folded(&packet[14..34]), 0xffff);
            let pseudo_header = word([0, 17]) + word([packet[38], packet[39]]) + sum(&packet[26..34]);
            assert_eq!(halves(halves(pseudo_header + sum(&packet[34..]))), 0xffff);
        }
    }

    #[test]
    fn every_flow_has_its_turn() {
        let course = Course::new(&frame(), 3).unwrap();
        assert_eq!([0, 1, 2, 7].map(|place| course.after(place)), [1, 2, 0, 0]);
    }

    #[test]
    fn places_are_distinct_and_foreign_addresses_have_none() {
        let places = Places {
            addresses: [7, 9, 0, 0, 0, 0, 0, 0],
            first: 100,
            count: 10,
        };
        assert_eq!(
            [places.of(7, 100), places.of(7, 109), places.of(9, 100)],
            [Some(0), Some(9), Some(10)]
        );
        assert_eq!([places.of(7, 99), places.of(7, 110), places.of(8, 100)], [None; 3]);
    }
}
