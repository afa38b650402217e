//! A far end whose media is SRTP.

use voxlane_dataplane::media_plane::Session;
use voxlane_dataplane::srtp::{Keying, Kind, MAX_OVERHEAD, Refusal, Srtp, SrtpKeys, Suite};

use super::Phone;

/// A phone whose wire is SRTP.
pub struct Secured {
    pub phone: Phone,
    pub srtp: Srtp,
    /// As the gateway has them.
    pub keys: SrtpKeys,
    sequence: u16,
}

/// New keys of a suite.
pub fn keys(suite: Suite) -> SrtpKeys {
    SrtpKeys {
        receive: Keying::random(suite, None),
        send: Keying::random(suite, None),
    }
}

/// The keys of the other side.
pub fn reversed(keys: &SrtpKeys) -> SrtpKeys {
    SrtpKeys {
        receive: keys.send.clone(),
        send: keys.receive.clone(),
    }
}

impl Secured {
    pub fn new(phone: Phone, keys: SrtpKeys) -> Self {
        Self {
            phone,
            srtp: Srtp::new(&reversed(&keys)).unwrap(),
            keys,
            sequence: 65_530,
        }
    }

    pub fn session(&self) -> Session {
        Session {
            srtp: Some(self.keys.clone()),
            ..self.phone.session()
        }
    }

    /// The next packet, protected; and as it was.
    pub fn next(&mut self, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut plain = vec![0x80, 0];
        plain.extend(self.sequence.to_be_bytes());
        plain.extend([0, 0, 0, 1, 9, 9, 9, 9]);
        plain.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        (self.protect(Kind::Rtp, &plain), plain)
    }

    pub fn protect(&mut self, kind: Kind, plain: &[u8]) -> Vec<u8> {
        let mut buffer = plain.to_vec();
        buffer.resize(plain.len() + MAX_OVERHEAD, 0);
        let length = self.srtp.outbound.protect(kind, &mut buffer, plain.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    pub fn unprotect(&mut self, kind: Kind, mut packet: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let length = self.srtp.inbound.unprotect(kind, &mut packet)?;
        packet.truncate(length);
        Ok(packet)
    }

    pub fn receive(&mut self) -> Result<Vec<u8>, Refusal> {
        let (packet, _) = self.phone.receive();
        self.unprotect(Kind::Rtp, packet)
    }
}
