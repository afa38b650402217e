//! The RTCP a leg sends: what it sent and what it received, its CNAME, and that it leaves (RFC 3550 section 6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use voxlane_common::account::StreamAccount;

use crate::cache::ask_for;
use crate::rtcp::{self, RoundTrip};

/// How often on the average (RFC 3550 section 6.2). Each report comes after half to one and a half of it, so that those of
/// many legs do not come at once.
const INTERVAL: Duration = Duration::from_secs(5);

/// Characters of a CNAME: 96 random bits in hexadecimal (RFC 7022 section 4.2).
const CNAME_LEN: usize = 24;

/// Header, SSRC, item type and length, the text, and zeros up to a multiple of four, at least one.
const DESCRIPTION_LEN: usize = (4 + 4 + 2 + CNAME_LEN + 1).next_multiple_of(4);

/// The longest: a sender report with one block, a description, a BYE.
const LEN: usize = 28 + BLOCK_LEN + DESCRIPTION_LEN + 8;

const BLOCK_LEN: usize = 24;

const SENDER: u8 = 200;
const RECEIVER: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;

/// Seconds from 1900, where NTP time begins, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// What a leg has sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) ssrc: u32,
    /// Media time at `at`.
    pub(super) timestamp: u32,
    pub(super) packets: u64,
    /// Payload bytes.
    pub(super) octets: u64,
    /// Now, by the wall clock.
    pub(super) at: SystemTime,
}

/// Whether a leg goes on after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    Away,
}

/// Writes the reports of one leg.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    cname: [u8; CNAME_LEN],
    next: Duration,
    /// Our own reports, to know them in the answers.
    ours: RoundTrip,
    /// The last sender report of the far end: its name, and when it came, ns.
    heard: Option<(u32, u64)>,
    /// Expected and received when the last report was written.
    before: (u64, u64),
    /// Packets sent when the last two reports were written, the older first.
    sent_before: [u64; 2],
    packet: [u8; LEN],
}

impl Reporter {
    /// A reporter with a name nobody else has, whose first report is due soon after `now`.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            cname: rand::random::<[u8; CNAME_LEN]>().map(|byte| b"0123456789abcdef"[usize::from(byte & 0x0f)]),
            // The first is to come soon (section 6.2).
            next: now + interval() / 2,
            ours: RoundTrip::default(),
            heard: None,
            before: (0, 0),
            sent_before: [0; 2],
            packet: [0; LEN],
        }
    }

    /// It is about to be asked whether a report is due.
    pub(super) fn expect(&self) {
        ask_for(&self.next);
    }

    /// Whether a report is due; the next one is then due later.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + interval();
        }
        due
    }

    /// Whether a report has been due for a second; the next one is then due later.
    pub(super) fn is_overdue(&mut self, now: Duration) -> bool {
        now >= self.next + Duration::from_secs(1) && self.is_due(now)
    }

    /// Takes what the far end reports, at `now_ns` on the monotonic clock; what it says of us goes to `theirs`.
    pub(super) fn on_packet(&mut self, theirs: &mut RoundTrip, packet: &[u8], now_ns: u64) {
        for report in rtcp::reports(packet) {
            self.heard = report.sent.map(|name| (name, now_ns)).or(self.heard);
        }
        theirs.on_packet(&self.ours, packet, now_ns);
    }

    /// A compound packet, of what was sent and, if anything has been, received.
    pub(super) fn write(&mut self, sent: &Sent, account: &StreamAccount, goes: Goes, now_ns: u64) -> &[u8] {
        let block = (account.packets > 0).then(|| self.block(account, now_ns));
        let mut writer = Writer {
            packet: &mut self.packet,
            length: 0,
        };
        // Who has sent nothing since the last report but one is no sender (section 6.4).
        let [last_but_one, last] = self.sent_before;
        let is_sender = sent.packets > last_but_one;
        let words = if is_sender { 6 } else { 1 } + if block.is_some() { BLOCK_LEN as u8 / 4 } else { 0 };
        let kind = if is_sender { SENDER } else { RECEIVER };
        writer.bytes(&[0x80 | u8::from(block.is_some()), kind, 0, words]);
        writer.word(sent.ssrc);
        let since_1970 = sent.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if is_sender {
            // NTP seconds, and the counters, are modulo 2^32.
            writer.word((since_1970.as_secs() + NTP_TO_UNIX) as u32);
            writer.word(((u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000) as u32);
            writer.word(sent.timestamp);
            writer.word(sent.packets as u32);
            writer.word(sent.octets as u32);
        }
        writer.bytes(block.as_ref().map_or(&[], |block| &block[..]));
        writer.bytes(&[0x81, DESCRIPTION, 0, (DESCRIPTION_LEN / 4 - 1) as u8]);
        writer.word(sent.ssrc);
        writer.bytes(&[1, CNAME_LEN as u8]);
        writer.bytes(&self.cname);
        writer.bytes(&[0; DESCRIPTION_LEN - 10 - CNAME_LEN]);
        if goes == Goes::Away {
            writer.bytes(&[0x81, BYE, 0, 1]);
            writer.word(sent.ssrc);
        }
        let length = writer.length;
        self.sent_before = [last, sent.packets];
        let packet = &self.packet[..length];
        self.ours.on_packet(&RoundTrip::default(), packet, now_ns);
        packet
    }

    /// Section 6.4.1 and appendix A.3.
    fn block(&mut self, account: &StreamAccount, now_ns: u64) -> [u8; BLOCK_LEN] {
        let now = (account.expected(), account.packets);
        let expected = now.0.saturating_sub(self.before.0);
        let received = now.1.saturating_sub(self.before.1);
        self.before = now;
        let fraction = match expected {
            0 => 0,
            // All but all is the most that eight bits can say.
            expected => (expected.saturating_sub(received) * 256 / expected).min(255),
        };
        let lost = account.lost().clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let jitter = account.jitter_ns() * rtcp::CLOCK_RATE / 1_000_000_000;
        let (name, delay) = match self.heard {
            Some((name, at_ns)) => (name, (u128::from(now_ns.saturating_sub(at_ns)) << 16) / 1_000_000_000),
            None => (0, 0),
        };
        let words = [
            account.ssrc,
            (fraction as u32) << 24 | lost,
            account.extended_highest(),
            u32::try_from(jitter).unwrap_or(u32::MAX),
            name,
            u32::try_from(delay).unwrap_or(u32::MAX),
        ];
        let mut block = [0; BLOCK_LEN];
        for (bytes, word) in block.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        block
    }
}

fn interval() -> Duration {
    INTERVAL.mul_f64(0.5 + rand::random::<f64>())
}

/// Writes from the front.
struct Writer<'a> {
    packet: &'a mut [u8; LEN],
    length: usize,
}

impl Writer<'_> {
    /// [`LEN`] is the sum of all that is written.
    fn bytes(&mut self, bytes: &[u8]) {
        self.packet[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use voxlane_common::account::Tick;
    use voxlane_common::rtp::RtpHeader;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn sent(packets: u64) -> Sent {
        Sent {
            ssrc: 0xdead_beef,
            timestamp: 160,
            packets,
            octets: 160 * packets,
            at: UNIX_EPOCH + Duration::from_millis(500),
        }
    }

    fn received(sequences: impl IntoIterator<Item = u16>) -> StreamAccount {
        let mut account = StreamAccount::default();
        for sequence in sequences {
            let mut bytes = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
            bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
            bytes[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
            let header = RtpHeader::parse(&bytes).unwrap();
            account.on_packet(&header, 172, 1 + u64::from(sequence) * 20_000_000, Tick::of_rate(8000));
        }
        account
    }

    #[test]
    fn a_sender_reports_what_it_sent_and_who_it_is() {
        let mut reporter = Reporter::new(Duration::ZERO);
        let packet = reporter.write(&sent(250), &StreamAccount::default(), Goes::On, SECOND);
        assert_eq!(packet.len() % 4, 0);
        assert_eq!(packet[..4], [0x80, SENDER, 0, 6]);
        assert_eq!(packet[4..8], [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(packet[8..16], [0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0]);
        assert_eq!(packet[16..28], [0, 0, 0, 160, 0, 0, 0, 250, 0, 0, 0x9c, 0x40]);
        assert_eq!(packet[28..32], [0x81, DESCRIPTION, 0, 8]);
        assert_eq!(packet[36..38], [1, 24]);
        assert!(packet[38..62].iter().all(u8::is_ascii_hexdigit));
        assert_eq!(packet[62..], [0, 0]);
    }

    #[test]
    fn who_has_sent_nothing_more_is_a_receiver_and_who_leaves_says_so() {
        let mut reporter = Reporter::new(Duration::ZERO);
        for _ in 0..2 {
            let packet = reporter.write(&sent(250), &StreamAccount::default(), Goes::On, SECOND);
            assert_eq!(packet[1], SENDER);
        }
        let account = received(1..=10);
        let packet = reporter.write(&sent(250), &account, Goes::Away, 2 * SECOND);
        assert_eq!(packet[..4], [0x81, RECEIVER, 0, 7]);
        assert_eq!(packet[32..36], [0x81, DESCRIPTION, 0, 8]);
        assert_eq!(packet[packet.len() - 8..], [0x81, BYE, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(packet.len(), 32 + DESCRIPTION_LEN + 8);
    }

    #[test]
    fn loss_is_that_since_the_report_before() {
        let mut reporter = Reporter::new(Duration::ZERO);
        // One in ten is lost.
        let first = received((1..=100).filter(|sequence| sequence % 10 != 5));
        let packet = reporter.write(&sent(1), &first, Goes::On, SECOND).to_vec();
        let block = rtcp::reports(&packet).next().unwrap().blocks().next().unwrap();
        assert_eq!(
            (block.ssrc, block.fraction_lost, block.lost, block.jitter),
            (7, 25, 10, 0)
        );
        assert_eq!(block.last_report, 0);
        // And then none.
        let second = received((1..=200).filter(|sequence| *sequence > 100 || sequence % 10 != 5));
        let packet = reporter.write(&sent(2), &second, Goes::On, SECOND).to_vec();
        let block = rtcp::reports(&packet).next().unwrap().blocks().next().unwrap();
        assert_eq!((block.fraction_lost, block.lost), (0, 10));
    }

    #[test]
    fn two_reporters_learn_the_way_between_them() {
        let (mut a, mut b) = (Reporter::new(Duration::ZERO), Reporter::new(Duration::ZERO));
        let (mut of_a, mut of_b) = (RoundTrip::default(), RoundTrip::default());
        let account = received(1..=10);
        let from_a = a.write(&sent(1), &account, Goes::On, SECOND).to_vec();
        b.on_packet(&mut of_a, &from_a, SECOND + 30_000_000);
        // Three seconds later.
        let from_b = b.write(&sent(1), &account, Goes::On, 4 * SECOND + 30_000_000).to_vec();
        a.on_packet(&mut of_b, &from_b, 4 * SECOND + 80_000_000);
        let measured = of_b.measured().unwrap();
        assert!(
            measured.abs_diff(Duration::from_millis(80)) < Duration::from_micros(40),
            "{measured:?}"
        );
        assert_eq!(of_b.reported().unwrap().lost, 0);
    }

    #[test]
    fn reports_come_every_few_seconds() {
        let mut reporter = Reporter::new(Duration::ZERO);
        let due: Vec<u32> = (0..1000)
            .filter(|ms| reporter.is_due(Duration::from_millis(100) * *ms))
            .collect();
        assert!((13..40).contains(&due.len()), "{due:?}");
        assert!(due[0] <= 38);
    }
}
