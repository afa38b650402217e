//! A view of the RTCP header (RFC 3550 section 6.4.1), as far as a relay needs one.

/// Length of the smallest RTCP packet in bytes: header and one SSRC (an empty receiver report).
pub const MIN_LEN: usize = 8;

/// Whether the first bytes of a packet are those of RTCP: version 2 and a packet type of 192-223 (RFC 5761 section 4).
#[inline(always)]
pub fn is_rtcp(first: u8, second: u8) -> bool {
    first >> 6 == 2 && (192..=223).contains(&second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_rtcp_and_media_is_not() {
        assert!(is_rtcp(0x80, 200));
        assert!(is_rtcp(0x81, 201));
        assert!(!is_rtcp(0x80, 0));
        assert!(!is_rtcp(0x80, 0x80));
        assert!(!is_rtcp(0x40, 200));
        assert!(!is_rtcp(0xc0, 200));
    }
}
