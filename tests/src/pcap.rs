//! A capture file of RTP, for sipp's `play_pcap_audio`.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::audio::to_ulaw;

/// Samples in a packet of 20 ms.
const PACKET: usize = 160;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const RTP: usize = 12;

/// Writes 8 kHz samples as PCMU packets of 20 ms; returns how many.
///
/// sipp takes payload and times from the file; addresses and ports it puts in itself.
///
/// # Errors
/// If the file cannot be written.
pub fn write_pcmu(file: &Path, samples: &[i16]) -> Result<u32> {
    write_pcmu_through(file, samples, |_| Fate::OnTime)
}

/// What a network does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes when it should.
    OnTime,
    /// It comes this many milliseconds later, after others.
    Late(u32),
    /// It does not come.
    Lost,
}

/// As [`write_pcmu`], with packets as they come through a bad network, which `fate` says of each; returns how many come.
///
/// # Errors
/// If the file cannot be written.
pub fn write_pcmu_through(file: &Path, samples: &[i16], fate: impl Fn(u32) -> Fate) -> Result<u32> {
    let mut capture = Vec::new();
    // Magic number, version 2.4, UTC, no accuracy, snapshot length, Ethernet.
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1u32] {
        capture.extend(word.to_le_bytes());
    }
    let numbered = (0u32..).zip(samples.chunks_exact(PACKET));
    let mut packets: Vec<(u32, u32, &[i16])> = numbered
        .filter_map(|(number, payload)| match fate(number) {
            Fate::OnTime => Some((number * 20, number, payload)),
            Fate::Late(by) => Some((number * 20 + by, number, payload)),
            Fate::Lost => None,
        })
        .collect();
    packets.sort_by_key(|(at, ..)| *at);
    for (at, number, payload) in &packets {
        let frame = frame(*number, payload);
        let length = u32::try_from(frame.len())?;
        for word in [at / 1000, at % 1000 * 1000, length, length] {
            capture.extend(word.to_le_bytes());
        }
        capture.extend(frame);
    }
    fs::write(file, capture)?;
    Ok(u32::try_from(packets.len())?)
}

/// One Ethernet frame. Checksums are left 0: the file is never put on a wire as it is.
fn frame(number: u32, samples: &[i16]) -> Vec<u8> {
    let udp_length = UDP + RTP + samples.len();
    let mut frame = Vec::with_capacity(ETHERNET + IPV4 + udp_length);
    frame.extend([0; 12]);
    frame.extend(0x0800u16.to_be_bytes());
    // Lengths are those of one 20 ms packet and fit; sequence numbers may wrap (RFC 3550 section 5.1).
    frame.extend([0x45, 0]);
    frame.extend(((IPV4 + udp_length) as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    frame.extend(6000u16.to_be_bytes());
    frame.extend(6000u16.to_be_bytes());
    frame.extend((udp_length as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend([0x80, if number == 0 { 0x80 } else { 0 }]);
    frame.extend((number as u16).to_be_bytes());
    frame.extend((number * PACKET as u32).to_be_bytes());
    frame.extend(0x5eed_cafe_u32.to_be_bytes());
    frame.extend(samples.iter().map(|&sample| to_ulaw(sample)));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_fifty_packets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(write_pcmu(file.path(), &crate::audio::tone(440, 1000)).unwrap(), 50);
        let record = 16 + ETHERNET + IPV4 + UDP + RTP + PACKET;
        assert_eq!(fs::read(file.path()).unwrap().len(), 24 + 50 * record);
    }
}
