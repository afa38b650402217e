//! RTP and RTCP packets, made by hand (RFC 3550).

/// Samples in a packet of 20 ms.
pub const SAMPLES: u32 = 160;

/// Payload type of PCMU.
const PCMU: u8 = 0;
/// Payload type of telephone events, as the scenarios offer it.
const EVENT: u8 = 101;

/// The next packets of a PCMU stream, 20 ms each.
#[derive(Clone, Debug)]
pub struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Sender {
    /// A stream from its beginning.
    pub fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            sequence: 1,
            timestamp: 0,
        }
    }

    /// The next packet, of silence.
    pub fn next_packet(&mut self) -> Vec<u8> {
        let mut packet = self.header(PCMU, 0);
        packet.resize(12 + SAMPLES as usize, 0xff);
        self.timestamp = self.timestamp.wrapping_add(SAMPLES);
        packet
    }

    /// The packets of a key, `0` to `9`, held for 100 ms: five, of which the last is said three times (RFC 4733 section
    /// 2.5.1.4). They share the timestamp of the moment it was pressed.
    pub fn key(&mut self, digit: u8) -> Vec<Vec<u8>> {
        let lasted = [160u16, 320, 480, 640, 800, 800, 800];
        let packets = lasted.iter().enumerate().map(|(place, lasted)| {
            let mut packet = self.header(EVENT, u8::from(place == 0));
            let end = if *lasted == 800 { 0x80 } else { 0 };
            packet.extend([digit, end | 10]);
            packet.extend(lasted.to_be_bytes());
            packet
        });
        let packets = packets.collect();
        self.timestamp = self.timestamp.wrapping_add(5 * SAMPLES);
        packets
    }

    fn header(&mut self, payload_type: u8, marker: u8) -> Vec<u8> {
        let mut header = vec![0x80, marker << 7 | payload_type];
        header.extend(self.sequence.to_be_bytes());
        header.extend(self.timestamp.to_be_bytes());
        header.extend(self.ssrc.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        header
    }
}

/// Sequence number of a packet.
pub fn sequence(packet: &[u8]) -> Option<u16> {
    packet.get(2..4)?.try_into().ok().map(u16::from_be_bytes)
}
