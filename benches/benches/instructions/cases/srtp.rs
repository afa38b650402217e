//! SRTP on packets of 20 ms of G.711.

use anyhow::{Context, Result};
use voxlane_dataplane::srtp::{Inbound, Keying, Kind, Outbound, Suite};

/// Header and 160 samples, and room for what SRTP adds.
const PACKET: usize = 172;
const BUFFER: usize = PACKET + 160;

/// Protects so many packets.
pub fn protect(suite: Suite, packets: u32) -> Result<()> {
    let mut outbound = Outbound::new(&keying(suite)?).context("no key")?;
    let mut buffer = [0; BUFFER];
    for number in 0..packets {
        fill(&mut buffer, number);
        outbound.protect(Kind::Rtp, &mut buffer, PACKET)?;
    }
    Ok(())
}

/// Protects and unprotects so many packets.
pub fn both_ways(suite: Suite, packets: u32) -> Result<()> {
    let keying = keying(suite)?;
    let mut outbound = Outbound::new(&keying).context("no key")?;
    let mut inbound = Inbound::new(&keying).context("no key")?;
    let mut buffer = [0; BUFFER];
    for number in 0..packets {
        fill(&mut buffer, number);
        let length = outbound.protect(Kind::Rtp, &mut buffer, PACKET)?;
        inbound.unprotect(Kind::Rtp, &mut buffer[..length])?;
    }
    Ok(())
}

/// The same key in each run.
fn keying(suite: Suite) -> Result<Keying> {
    let master: Vec<u8> = (0..suite.key_len() + suite.salt_len())
        .map(|place| place as u8)
        .collect();
    Ok(Keying::from_bytes(suite, &master, None)?)
}

fn fill(buffer: &mut [u8; BUFFER], number: u32) {
    buffer[0] = 0x80;
    buffer[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    buffer[4..8].copy_from_slice(&(number * 160).to_be_bytes());
    buffer[8..12].copy_from_slice(&0xcafe_babe_u32.to_be_bytes());
}
