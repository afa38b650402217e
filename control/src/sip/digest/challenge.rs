//! A challenge: WWW-Authenticate and Proxy-Authenticate (RFC 7616 section 3.3).

use serde::{Deserialize, Serialize};

use super::Algorithm;
use super::params::{AuthParams, AuthWriter};

/// Who challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Challenger {
    /// The other user agent, with 401.
    Server,
    /// A proxy on the way, with 407.
    Proxy,
}

impl Challenger {
    /// The header that answers.
    pub fn credentials_header(self) -> &'static str {
        match self {
            Self::Server => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }
}

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Whose passwords are meant.
    pub realm: String,
    /// What the answer is valid for.
    pub nonce: String,
    /// To be sent back, if there.
    pub opaque: Option<String>,
    /// With which hash.
    pub algorithm: Algorithm,
    /// Whether `qop=auth` is offered; without, the answer is RFC 2069's.
    pub counted: bool,
    /// The credentials were right but for their nonce.
    pub stale: bool,
}

/// Why a challenge cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not Digest, or broken.
    #[error("it is not a Digest challenge that can be read")]
    Malformed,
    /// Its algorithm is not one of ours.
    #[error("its algorithm is not one of MD5, SHA-256, SHA-512-256")]
    Algorithm,
    /// It wants the body protected.
    #[error("its qop has no \"auth\"")]
    Quality,
}

impl Challenge {
    /// Reads a header.
    ///
    /// # Errors
    /// Why it cannot be answered.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let params = AuthParams::parse(text).ok_or(Unusable::Malformed)?;
        let required = |name| params.get(name).map(str::to_owned).ok_or(Unusable::Malformed);
        // RFC 7616 section 3.3: MD5 where it is not said.
        let algorithm = params.get("algorithm").unwrap_or("MD5");
        let algorithm = Algorithm::named(algorithm).ok_or(Unusable::Algorithm)?;
        let offers_auth = |qop: &str| qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth"));
        let counted = match params.get("qop") {
            Some(qop) if offers_auth(qop) => true,
            Some(_) => return Err(Unusable::Quality),
            None => false,
        };
        Ok(Self {
            realm: required("realm")?,
            nonce: required("nonce")?,
            opaque: params.get("opaque").map(str::to_owned),
            algorithm,
            counted,
            stale: params
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The header.
    pub fn write(&self) -> String {
        let mut writer = AuthWriter::digest();
        writer
            .quoted("realm", &self.realm)
            .quoted("nonce", &self.nonce)
            .bare("algorithm", self.algorithm);
        if self.counted {
            writer.quoted("qop", "auth");
        }
        if let Some(opaque) = &self.opaque {
            writer.quoted("opaque", opaque);
        }
        if self.stale {
            writer.bare("stale", "true");
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carriers_write() {
        let old = Challenge::parse(r#"Digest realm="carrier", nonce="abc""#).unwrap();
        assert_eq!((old.algorithm, old.counted, old.stale), (Algorithm::Md5, false, false));
        let new = r#"Digest realm="c", nonce="n", qop="auth-int, auth", opaque="", stale=TRUE, algorithm=sha-256, charset=UTF-8"#;
        let new = Challenge::parse(new).unwrap();
        assert_eq!((new.algorithm, new.counted, new.stale), (Algorithm::Sha256, true, true));
        assert_eq!(new.opaque.as_deref(), Some(""));
        assert_eq!(Challenge::parse(&new.write()), Ok(new));
    }

    #[test]
    fn what_cannot_be_answered() {
        for (text, why) in [
            ("Basic realm=\"a\"", Unusable::Malformed),
            ("Digest nonce=\"a\"", Unusable::Malformed),
            ("Digest realm=\"a\"", Unusable::Malformed),
            (
                "Digest realm=\"a\", nonce=\"b\", algorithm=AKAv1-MD5",
                Unusable::Algorithm,
            ),
            ("Digest realm=\"a\", nonce=\"b\", qop=\"auth-int\"", Unusable::Quality),
        ] {
            assert_eq!(Challenge::parse(text), Err(why), "{text}");
        }
    }
}
