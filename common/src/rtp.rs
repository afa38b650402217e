//! A view of the fixed RTP header (RFC 3550 section 5.1).

/// Length of the fixed RTP header in bytes.
pub const HEADER_LEN: usize = 12;

/// The first bytes of a UDP payload, as words of memory: an RTP header, or the beginning of something else.
pub type Head = [u32; 3];

/// The first bytes of `payload` as a [`Head`], with zeros where it is shorter.
pub fn head(payload: &[u8]) -> Head {
    let mut bytes = [0; HEADER_LEN];
    for (to, from) in bytes.iter_mut().zip(payload) {
        *to = *from;
    }
    bytemuck::cast(bytes)
}

/// The first two bytes of a [`Head`].
#[inline(always)]
pub const fn first_bytes(head: &Head) -> [u8; 2] {
    let [first, second, ..] = head[0].to_ne_bytes();
    [first, second]
}

/// The fixed RTP header, copied out of a packet.
///
/// It is a copy of three words rather than a borrow, so that the eBPF verifier sees one bounds check and the program can
/// write to the packet while it holds the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader(Head);

impl RtpHeader {
    /// Reads the header. `None` unless the version is 2 and the payload type cannot be an RTCP packet type seen through
    /// rtcp-mux (RFC 5761 section 4: 64-95 with the marker bit taken off).
    #[inline(always)]
    pub fn new(head: Head) -> Option<Self> {
        let header = Self(head);
        let [first, _] = first_bytes(&head);
        if first >> 6 != 2 || (64..96).contains(&header.payload_type()) {
            return None;
        }
        Some(header)
    }

    /// Reads the header from the start of a UDP payload.
    #[inline(always)]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let bytes = payload.first_chunk::<HEADER_LEN>()?;
        Self::new(bytemuck::cast(*bytes))
    }

    /// The header as it stands in a packet.
    #[inline(always)]
    pub const fn head(&self) -> Head {
        self.0
    }

    /// The header with another SSRC, sequence number and timestamp.
    #[inline(always)]
    pub const fn sent_as(&self, ssrc: u32, sequence: u16, timestamp: u32) -> Head {
        let first = u32::from_be(self.0[0]) & 0xffff_0000 | sequence as u32;
        [first.to_be(), timestamp.to_be(), ssrc.to_be()]
    }

    /// Marker bit: the first packet of a talk spurt or of a telephone event.
    #[inline(always)]
    pub const fn marker(&self) -> bool {
        first_bytes(&self.0)[1] & 0x80 != 0
    }

    /// Payload type, 0-127.
    #[inline(always)]
    pub const fn payload_type(&self) -> u8 {
        first_bytes(&self.0)[1] & 0x7f
    }

    /// Sequence number.
    #[inline(always)]
    pub const fn sequence(&self) -> u16 {
        u32::from_be(self.0[0]) as u16
    }

    /// Media timestamp, in units of the payload's clock rate.
    #[inline(always)]
    pub const fn timestamp(&self) -> u32 {
        u32::from_be(self.0[1])
    }

    /// Synchronisation source.
    #[inline(always)]
    pub const fn ssrc(&self) -> u32 {
        u32::from_be(self.0[2])
    }
}

/// The same beginning with another payload type; the marker stays.
#[inline(always)]
pub const fn with_payload_type(head: Head, payload_type: u8) -> Head {
    let [first, second, third, fourth] = head[0].to_ne_bytes();
    let word = u32::from_ne_bytes([first, second & 0x80 | payload_type, third, fourth]);
    [word, head[1], head[2]]
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

    #[test]
    fn a_header_is_sent_under_other_numbers() {
        let header = RtpHeader::parse(&PACKET).unwrap();
        let sent = RtpHeader::new(header.sent_as(7, 8, 9)).unwrap();
        assert_eq!((sent.ssrc(), sent.sequence(), sent.timestamp()), (7, 8, 9));
        assert_eq!((sent.marker(), sent.payload_type()), (true, 0));
        assert_eq!(first_bytes(&with_payload_type(header.head(), 96)), [0x80, 0x80 | 96]);
        assert_eq!(head(&PACKET), header.head());
        assert_eq!(head(&PACKET[..2]), [u32::from_ne_bytes([0x80, 0x80, 0, 0]), 0, 0]);
    }
}
