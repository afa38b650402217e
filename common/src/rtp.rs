//! A view of the fixed RTP header (RFC 3550 section 5.1).

/// Length of the fixed RTP header in bytes.
pub const HEADER_LEN: usize = 12;

/// The fixed RTP header, copied out of a packet.
///
/// It is a copy of 12 bytes rather than a borrow, so that the eBPF verifier sees one bounds check and the program can
/// write to the packet while it holds the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader([u8; HEADER_LEN]);

impl RtpHeader {
    /// Reads the header. `None` unless the version is 2 and the payload type cannot be an RTCP packet type seen through
    /// rtcp-mux (RFC 5761 section 4: 64-95 with the marker bit taken off).
    #[inline(always)]
    pub fn new(bytes: [u8; HEADER_LEN]) -> Option<Self> {
        let header = Self(bytes);
        if bytes[0] >> 6 != 2 || (64..96).contains(&header.payload_type()) {
            return None;
        }
        Some(header)
    }

    /// Reads the header from the start of a UDP payload.
    #[inline(always)]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let bytes = payload.first_chunk::<HEADER_LEN>()?;
        Self::new(*bytes)
    }

    /// The header as it stands in a packet.
    #[inline(always)]
    pub fn bytes(&self) -> [u8; HEADER_LEN] {
        self.0
    }

    /// The header with another SSRC, sequence number and timestamp.
    #[inline(always)]
    pub fn sent_as(&self, ssrc: u32, sequence: u16, timestamp: u32) -> [u8; HEADER_LEN] {
        let [first, second, ..] = self.0;
        let [a, b] = sequence.to_be_bytes();
        let [c, d, e, f] = timestamp.to_be_bytes();
        let [g, h, i, j] = ssrc.to_be_bytes();
        [first, second, a, b, c, d, e, f, g, h, i, j]
    }

    /// Marker bit: the first packet of a talk spurt or of a telephone event.
    #[inline(always)]
    pub fn marker(&self) -> bool {
        self.0[1] & 0x80 != 0
    }

    /// Payload type, 0-127.
    #[inline(always)]
    pub fn payload_type(&self) -> u8 {
        self.0[1] & 0x7f
    }

    /// Sequence number.
    #[inline(always)]
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Media timestamp, in units of the payload's clock rate.
    #[inline(always)]
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// Synchronisation source.
    #[inline(always)]
    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes([self.0[8], self.0[9], self.0[10], self.0[11]])
    }
}

/// Where the media bytes of an RTP packet lie: after CSRCs and a header extension, before padding.
///
/// `None` if the lengths the packet claims exceed the packet.
pub fn media(payload: &[u8]) -> Option<&[u8]> {
    RtpHeader::parse(payload)?;
    let mut start = HEADER_LEN + 4 * usize::from(payload[0] & 0x0f);
    if payload[0] & 0x10 != 0 {
        let extension = payload.get(start..start + 4)?;
        start += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
    }
    let padding = match payload[0] & 0x20 {
        0 => 0,
        _ => usize::from(*payload.last()?),
    };
    payload.get(start..payload.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 16] = [0x80, 0x80, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4];

    #[test]
    fn fields_are_where_rfc_3550_puts_them() {
        let header = RtpHeader::parse(&PACKET).unwrap();
        assert!(header.marker());
        assert_eq!(header.payload_type(), 0);
        assert_eq!(header.sequence(), 0x1234);
        assert_eq!(header.timestamp(), 160);
        assert_eq!(header.ssrc(), 0xdead_beef);
        assert_eq!(media(&PACKET), Some(&[1, 2, 3, 4][..]));
    }

    #[test]
    fn rtcp_and_other_versions_are_not_rtp() {
        let mut packet = PACKET;
        packet[1] = 200; // sender report
        assert_eq!(RtpHeader::parse(&packet), None);
        packet[1] = 0;
        packet[0] = 0x40;
        assert_eq!(RtpHeader::parse(&packet), None);
        assert_eq!(RtpHeader::parse(&PACKET[..11]), None);
    }

    #[test]
    fn media_is_bounded_by_the_packet() {
        let mut packet = PACKET;
        packet[0] = 0xa0; // padding, last byte 4
        assert_eq!(media(&packet), Some(&[][..]));
        packet[15] = 200;
        assert_eq!(media(&packet), None);
        packet[0] = 0x9f; // extension and 15 CSRCs in a packet of 16 bytes
        assert_eq!(media(&packet), None);
    }
}
