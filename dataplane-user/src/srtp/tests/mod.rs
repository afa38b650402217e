//! Whole packets.
//!
//! - `vectors`: those that are published;
//! - `packets`: what is refused, and the two engines beside each other;
//! - `keys`: a key that ends, and the one after it;
//! - `properties`: packets of every shape, and what any change to them does.

mod keys;
mod packets;
mod properties;
mod vectors;

use super::*;

/// Bytes of hexadecimal digits.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A packet in a buffer with room, protected; its bytes.
fn protect(outbound: &mut Outbound, kind: Kind, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + MAX_OVERHEAD, 0);
    let length = outbound.protect(kind, &mut buffer, packet.len())?;
    buffer.truncate(length);
    Ok(buffer)
}

fn unprotect(inbound: &mut Inbound, kind: Kind, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut buffer = packet.to_vec();
    let length = inbound.unprotect(kind, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn pair(keying: &Keying) -> (Outbound, Inbound) {
    (Outbound::new(keying).unwrap(), Inbound::new(keying).unwrap())
}

fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}
