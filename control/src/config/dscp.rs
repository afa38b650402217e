//! Differentiated services code points by number and by name (RFC 2474, RFC 2597, RFC 3246, RFC 5865).

/// The class packets are marked with, for the networks on their way: 0-63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dscp(u8);

impl Dscp {
    /// Expedited Forwarding: what voice is marked with (RFC 4594 section 4.1).
    pub const EF: Self = Self(46);
    /// Class Selector 5: what signalling is marked with (RFC 4594 section 4.2).
    pub const CS5: Self = Self(40);

    /// The TOS byte of IPv4, the traffic class of IPv6: these six bits above the two of ECN.
    pub fn tos(self) -> u8 {
        self.0 << 2
    }
}

/// Reads a number from 0 to 63 or a name.
///
/// # Errors
/// A sentence saying what is wrong and what to write.
pub(super) fn parse(text: &str) -> Result<Dscp, String> {
    let wrong =
        || format!("{text:?} is not a DSCP; write \"EF\", \"VA\", \"CS0\" to \"CS7\", \"AF11\" to \"AF43\" or 0 to 63");
    let name = text.to_ascii_uppercase();
    let value = match name.as_bytes() {
        b"EF" => Some(Dscp::EF.0),
        b"VA" => Some(44),
        [b'C', b'S', class @ b'0'..=b'7'] => Some((class - b'0') << 3),
        [b'A', b'F', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => Some((class - b'0') << 3 | (drop - b'0') << 1),
        _ => text.parse().ok().filter(|value| *value < 64),
    };
    value.map(Dscp).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, value) in [
            ("EF", 46),
            ("ef", 46),
            ("46", 46),
            ("0", 0),
            ("63", 63),
            ("CS0", 0),
            ("CS1", 8),
            ("CS5", 40),
            ("CS7", 56),
            ("AF11", 10),
            ("AF31", 26),
            ("AF41", 34),
            ("AF43", 38),
            ("VA", 44),
        ] {
            assert_eq!(parse(text), Ok(Dscp(value)), "{text}");
        }
        assert_eq!(Dscp::EF.tos(), 0xb8);
    }

    #[test]
    fn what_is_not_a_code_point() {
        for text in [
            "", "64", "-1", "0x2e", "CS8", "CS", "AF14", "AF51", "AF1", "EF1", "voice",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
