//! Where in a packet what lies.

use voxlane_common::rtcp;
use voxlane_common::rtp::HEADER_LEN;

use super::refusal::Refusal;

/// Most bytes that protection adds to a packet: the tag of GCM, SRTCP's index, and a master key identifier.
pub const MAX_OVERHEAD: usize = 16 + 4 + super::keys::LONGEST_MKI as usize;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RTP, or SRTP.
    Rtp,
    /// RTCP, or SRTCP.
    Rtcp,
}

/// What of a packet has to be known before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes that stay readable: RTP's header with its extension, RTCP's first header and SSRC.
    pub(super) clear: usize,
    /// Who sends it.
    pub(super) ssrc: u32,
    /// RTP's sequence number; 0 of RTCP.
    pub(super) sequence: u16,
}

impl Layout {
    /// Of a packet of which these bytes are known not to be what protection adds.
    #[inline]
    pub(super) fn of(kind: Kind, packet: &[u8]) -> Result<Self, Refusal> {
        match kind {
            Kind::Rtp => Self::of_rtp(packet),
            Kind::Rtcp => Self::of_rtcp(packet),
        }
        .ok_or(Refusal::Malformed)
    }

    #[inline]
    fn of_rtp(packet: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_LEN] = packet.first_chunk()?;
        let [first, _, s0, s1, _, _, _, _, a, b, c, d] = *header;
        if first >> 6 != 2 {
            return None;
        }
        let mut clear = HEADER_LEN + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            // RFC 3550 section 5.3.1: a word of which the second half counts the words after it.
            let [_, _, high, low] = *packet.get(clear..)?.first_chunk()?;
            clear += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        }
        (clear <= packet.len()).then_some(Self {
            clear,
            ssrc: u32::from_be_bytes([a, b, c, d]),
            sequence: u16::from_be_bytes([s0, s1]),
        })
    }

    #[inline]
    fn of_rtcp(packet: &[u8]) -> Option<Self> {
        let [first, second, _, _, a, b, c, d] = *packet.first_chunk::<{ rtcp::MIN_LEN }>()?;
        rtcp::is_rtcp(first, second).then_some(Self {
            clear: rtcp::MIN_LEN,
            ssrc: u32::from_be_bytes([a, b, c, d]),
            sequence: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contributors_and_extensions_stay_readable() {
        let mut packet = [0u8; 40];
        packet[0] = 0x92;
        packet[3] = 7;
        packet[11] = 9;
        packet[23] = 1;
        let layout = Layout {
            clear: 12 + 8 + 8,
            ssrc: 9,
            sequence: 7,
        };
        assert_eq!(Layout::of(Kind::Rtp, &packet), Ok(layout));
        packet[23] = 4;
        assert_eq!(Layout::of(Kind::Rtp, &packet).map(|layout| layout.clear), Ok(40));
        packet[23] = 5;
        assert_eq!(Layout::of(Kind::Rtp, &packet), Err(Refusal::Malformed));
        assert_eq!(Layout::of(Kind::Rtp, &packet[..22]), Err(Refusal::Malformed));
        assert_eq!(Layout::of(Kind::Rtcp, &packet), Err(Refusal::Malformed));
    }
}
