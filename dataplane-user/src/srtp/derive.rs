//! The keys of a session, from the master key (RFC 3711 section 4.3; with a 256-bit key RFC 6188 section 3; for GCM RFC 7714
//! section 11).

use zeroize::Zeroizing;

use super::keys::Keying;
use super::packet::Kind;
use super::portable::Cipher;

/// Length of HMAC-SHA1's key in every suite that has one, bytes (RFC 3711 section 5.2).
const AUTH_KEY_LEN: usize = 20;

/// What a key is for.
#[derive(Clone, Copy)]
enum Label {
    Encryption,
    Authentication,
    Salt,
}

/// The keys of one kind of packet in one direction.
pub(super) struct SessionKeys {
    cipher: Zeroizing<[u8; 32]>,
    length: usize,
    /// HMAC-SHA1's key.
    pub(super) auth: Zeroizing<[u8; AUTH_KEY_LEN]>,
    /// The salt as a number of 112 bits; one of 96 bits has 16 zeros after it.
    pub(super) salt: Zeroizing<u128>,
}

impl SessionKeys {
    /// `None` if the master key is not of a length that AES has.
    pub(super) fn derive(keying: &Keying, kind: Kind) -> Option<Self> {
        let prf = Prf {
            cipher: Cipher::new(keying.key())?,
            salt: Zeroizing::new(salt_number(keying.salt())),
            kind,
        };
        let length = keying.suite().key_len();
        let mut cipher = Zeroizing::new([0; 32]);
        prf.fill(Label::Encryption, cipher.get_mut(..length)?);
        let mut auth = Zeroizing::new([0; AUTH_KEY_LEN]);
        prf.fill(Label::Authentication, &mut auth[..]);
        let mut salt = Zeroizing::new([0; 14]);
        let salt = salt.get_mut(..keying.suite().salt_len())?;
        prf.fill(Label::Salt, salt);
        Some(Self {
            cipher,
            length,
            auth,
            salt: Zeroizing::new(salt_number(salt)),
        })
    }

    /// These, as published vectors give them.
    #[cfg(test)]
    pub(super) fn given(cipher: &[u8], auth: &[u8; AUTH_KEY_LEN], salt: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..cipher.len()].copy_from_slice(cipher);
        Self {
            cipher: Zeroizing::new(bytes),
            length: cipher.len(),
            auth: Zeroizing::new(*auth),
            salt: Zeroizing::new(salt_number(salt)),
        }
    }

    /// The cipher's key.
    pub(super) fn cipher(&self) -> &[u8] {
        &self.cipher[..self.length]
    }
}

/// Up to 14 bytes as a number of 112 bits, the first highest.
fn salt_number(salt: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().skip(2).zip(salt) {
        *to = *from;
    }
    u128::from_be_bytes(bytes)
}

/// AES in counter mode as a source of keys (RFC 3711 section 4.3.3).
struct Prf {
    cipher: Cipher,
    salt: Zeroizing<u128>,
    kind: Kind,
}

impl Prf {
    /// With a key derivation rate of zero: keys are derived once, and the packet's index does not matter.
    fn fill(&self, label: Label, key: &mut [u8]) {
        let label: u128 = match (self.kind, label) {
            (Kind::Rtp, Label::Encryption) => 0,
            (Kind::Rtp, Label::Authentication) => 1,
            (Kind::Rtp, Label::Salt) => 2,
            (Kind::Rtcp, Label::Encryption) => 3,
            (Kind::Rtcp, Label::Authentication) => 4,
            (Kind::Rtcp, Label::Salt) => 5,
        };
        self.cipher.apply((*self.salt << 16) ^ (label << 64), key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Suite;
    use crate::srtp::tests::hex;

    #[test]
    fn the_keys_of_rfc_3711_and_rfc_6188() {
        // RFC 3711 appendix B.3, RFC 6188 section 7.2.
        let vectors = [
            (
                Suite::AesCm128HmacSha1Tag80,
                "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6",
                "c61e7a93744f39ee10734afe3ff7a087",
                "cebe321f6ff7716b6fd4ab49af256a156d38baa4",
                "30cbbc08863d8c85d49db34a9ae1",
            ),
            (
                Suite::Aes256CmHmacSha1Tag80,
                "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
                "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
                "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
                "fa31791685ca444a9e07c6c64e93",
            ),
        ];
        for (suite, master, cipher, auth, salt) in vectors {
            let keying = Keying::from_bytes(suite, &hex(master), None).unwrap();
            let keys = SessionKeys::derive(&keying, Kind::Rtp).unwrap();
            assert_eq!(keys.cipher(), hex(cipher));
            assert_eq!(keys.auth.to_vec(), hex(auth));
            assert_eq!(keys.salt.to_be_bytes()[2..], hex(salt));
        }
    }

    #[test]
    fn the_keystreams_of_rfc_3711_and_rfc_6188() {
        // RFC 3711 appendix B.2, RFC 6188 section 7.1: session salt and SSRC 0, block 0 on; then the last blocks.
        let iv = u128::from_be_bytes(hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000").try_into().unwrap());
        let vectors = [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab 41e95b3bb0a2e8dd477901e4fca894c0",
                "ec8cdf7398607cb0f2d21675ea9ea1e4 362b7c3c6773516318a077d7fc5073ae 6a2cc3787889374fbeb4c81b17ba6c44",
            ),
            (
                "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
                "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31",
                "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d 6eb246913062a16891433e97dd01a57f",
            ),
        ];
        for (key, first, last) in vectors {
            let cipher = Cipher::new(&hex(key)).unwrap();
            for (from, keystream) in [(iv, first), (iv + 0xfeff, last)] {
                let mut text = [0; 48];
                cipher.apply(from, &mut text);
                assert_eq!(text.to_vec(), hex(keystream));
            }
        }
    }
}
