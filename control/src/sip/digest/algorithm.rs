//! The hashes, and what is hashed (RFC 7616 section 3.4.1).

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512_256};

/// A hash that digest authentication may use; ordered from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// MD5: what every device has.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

impl Algorithm {
    /// All, the strongest first.
    pub const ALL: [Self; 3] = [Self::Sha512_256, Self::Sha256, Self::Md5];

    /// Its name in headers (RFC 7616 section 6.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// The algorithm of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Digits of its hashes, written in hexadecimal.
    pub fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 | Self::Sha512_256 => 64,
        }
    }

    /// The hash of the parts with colons between them, in lower-case hexadecimal.
    pub fn hash(self, parts: &[&str]) -> String {
        match self {
            Self::Md5 => hex::<Md5>(parts),
            Self::Sha256 => hex::<Sha256>(parts),
            Self::Sha512_256 => hex::<Sha512_256>(parts),
        }
    }

    /// The value of `response`: what proves that its sender knows `ha1`, the hash of username, realm and password.
    ///
    /// `quality` is `nc` and `cnonce` as written; `None` for a challenge without qop (RFC 2069).
    pub fn response(self, ha1: &str, nonce: &str, quality: Option<(&str, &str)>, method: &str, uri: &str) -> String {
        let ha2 = self.hash(&[method, uri]);
        match quality {
            Some((count, cnonce)) => self.hash(&[ha1, nonce, count, cnonce, "auth", &ha2]),
            None => self.hash(&[ha1, nonce, &ha2]),
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn hex<D: Digest>(parts: &[&str]) -> String {
    let mut hash = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(part.as_bytes());
    }
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 section 3.9.1.
    #[test]
    fn the_examples_of_rfc_7616() {
        let of = |algorithm: Algorithm| {
            let ha1 = algorithm.hash(&["Mufasa", "http-auth@example.org", "Circle of Life"]);
            algorithm.response(
                &ha1,
                "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
                "GET",
                "/dir/index.html",
            )
        };
        assert_eq!(of(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            of(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    /// The hashed username of RFC 7616 section 3.9.2, as its erratum corrects it, and the example of FIPS 180-4.
    #[test]
    fn sha_512_256_is_the_one_of_fips_180_4() {
        assert_eq!(
            Algorithm::Sha512_256.hash(&["J\u{e4}s\u{f8}n Doe", "api@example.org"]),
            "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
        );
        assert_eq!(
            Algorithm::Sha512_256.hash(&["abc"]),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
    }

    /// RFC 2617 section 3.5, and the same without qop.
    #[test]
    fn the_example_of_rfc_2617() {
        let ha1 = Algorithm::Md5.hash(&["Mufasa", "testrealm@host.com", "Circle Of Life"]);
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        let of = |quality| Algorithm::Md5.response(&ha1, nonce, quality, "GET", "/dir/index.html");
        assert_eq!(of(Some(("00000001", "0a4f113b"))), "6629fae49393a05397450978507c4ef1");
        assert_eq!(of(None), "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn names() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(&algorithm.name().to_lowercase()), Some(algorithm));
            assert_eq!(algorithm.hash(&[""]).len(), algorithm.digits());
        }
        assert_eq!(Algorithm::named("MD5-sess"), None);
        assert!(Algorithm::ALL.is_sorted_by(|a, b| a > b));
    }
}
