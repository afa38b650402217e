//! The sender and receiver reports of a compound packet.

/// A sender or receiver report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Of a sender report: the middle 32 bits of its NTP time, by which it is referred to.
    pub sent: Option<u32>,
    blocks: &'a [u8],
}

/// What a report says of one stream that was received (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// SSRC of the stream.
    pub ssrc: u32,
    /// Share of its packets lost since the report before, 1/256.
    pub fraction_lost: u8,
    /// Its packets lost in all, 24 bits; duplicates can make it negative.
    pub lost: i32,
    /// Interarrival jitter, ticks of its clock.
    pub jitter: u32,
    /// The last sender report of the stream's sender, by [`Report::sent`]; 0: none has come.
    pub last_report: u32,
    /// Time between that report's arrival and this one's departure, 1/65,536 s.
    pub delay: u32,
}

const SENDER: u8 = 200;
const RECEIVER: u8 = 201;

/// Header and SSRC.
const START: usize = 8;
/// NTP time, RTP time and counts of a sender report.
const SENDER_INFO: usize = 20;
const BLOCK: usize = 24;

impl<'a> Report<'a> {
    /// Its blocks.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + 'a {
        self.blocks.chunks_exact(BLOCK).filter_map(|block| {
            Some(Block {
                ssrc: word(block, 0)?,
                fraction_lost: *block.get(4)?,
                // Sign and 23 bits, behind the fraction.
                lost: ((word(block, 4)? << 8) as i32) >> 8,
                jitter: word(block, 12)?,
                last_report: word(block, 16)?,
                delay: word(block, 20)?,
            })
        })
    }
}

/// The reports of a compound packet, as far as they are whole. Other packets in it are passed over.
pub fn reports(mut packet: &[u8]) -> impl Iterator<Item = Report<'_>> {
    std::iter::from_fn(move || {
        loop {
            let [first, kind, high, low] = *packet.first_chunk()?;
            if first >> 6 != 2 {
                return None;
            }
            let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
            let one = packet.get(..length)?;
            packet = &packet[length..];
            let count = usize::from(first & 0x1f);
            let (sent, start) = match kind {
                SENDER => (word(one, 10), START + SENDER_INFO),
                RECEIVER => (None, START),
                _ => continue,
            };
            let Some(blocks) = one.get(start..).map(|rest| &rest[..rest.len().min(count * BLOCK)]) else {
                continue;
            };
            return Some(Report { sent, blocks });
        }
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A report with one block; a sender's if `sent` is given.
    pub(in crate::rtcp) fn report(sent: Option<u32>, last_report: u32, delay: u32) -> Vec<u8> {
        let mut packet = vec![0x81, if sent.is_some() { SENDER } else { RECEIVER }, 0, 0, 0, 0, 0, 1];
        if let Some(sent) = sent {
            let mut info = [0u8; SENDER_INFO];
            info[2..6].copy_from_slice(&sent.to_be_bytes());
            packet.extend(info);
        }
        let mut block = [0u8; BLOCK];
        block[3] = 9;
        block[16..20].copy_from_slice(&last_report.to_be_bytes());
        block[20..24].copy_from_slice(&delay.to_be_bytes());
        packet.extend(block);
        let words = packet.len() / 4 - 1;
        packet[3] = words as u8;
        packet
    }

    #[test]
    fn reports_of_a_compound_packet_are_found() {
        let mut packet = report(Some(0x1234_5678), 5, 6);
        // Source description, two words.
        packet.extend([0x81, 202, 0, 1, 0, 0, 0, 1]);
        packet.extend(report(None, 7, 8));
        let found: Vec<_> = reports(&packet).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].sent, found[1].sent), (Some(0x1234_5678), None));
        let block = |last_report, delay| Block {
            ssrc: 9,
            fraction_lost: 0,
            lost: 0,
            jitter: 0,
            last_report,
            delay,
        };
        assert_eq!(found[0].blocks().collect::<Vec<_>>(), [block(5, 6)]);
        assert_eq!(found[1].blocks().collect::<Vec<_>>(), [block(7, 8)]);
    }

    proptest! {
        #[test]
        fn nothing_is_read_past_the_end(bytes in prop::collection::vec(any::<u8>(), 0..120), first: bool) {
            let mut bytes = bytes;
            if first && bytes.len() > 1 {
                (bytes[0], bytes[1]) = (0x9f, SENDER);
            }
            for report in reports(&bytes) {
                prop_assert!(report.blocks().count() <= 31);
            }
        }
    }
}
