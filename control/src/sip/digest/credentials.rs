//! Credentials: Authorization and Proxy-Authorization (RFC 7616 section 3.4).

use super::Algorithm;
use super::params::{AuthParams, AuthWriter};

/// What a request brings to prove who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Whose they are.
    pub username: String,
    /// The realm they are for.
    pub realm: String,
    /// The nonce they answer.
    pub nonce: String,
    /// The Request-URI as their sender wrote it.
    pub uri: String,
    /// The proof, in hexadecimal.
    pub response: String,
    /// With which hash it was made.
    pub algorithm: Algorithm,
    /// `nc` and `cnonce`, unless the challenge had no qop.
    pub quality: Option<(String, String)>,
    /// Of the challenge.
    pub opaque: Option<String>,
}

impl Credentials {
    /// Reads a header; `None` if it is not Digest, or broken, or of an algorithm or qop that was not offered.
    pub fn parse(text: &str) -> Option<Self> {
        let params = AuthParams::parse(text)?;
        let required = |name| params.get(name).map(str::to_owned);
        let algorithm = Algorithm::named(params.get("algorithm").unwrap_or("MD5"))?;
        let quality = match params.get("qop") {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some((required("nc")?, required("cnonce")?)),
            Some(_) => return None,
            None => None,
        };
        if let Some((count, _)) = &quality
            && (count.len() != 8 || !count.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return None;
        }
        let response = required("response")?.to_ascii_lowercase();
        if response.len() != algorithm.digits() {
            return None;
        }
        Some(Self {
            username: required("username")?,
            realm: required("realm")?,
            nonce: required("nonce")?,
            uri: required("uri")?,
            response,
            algorithm,
            quality,
            opaque: required("opaque"),
        })
    }

    /// How often the nonce has been used with this, as its sender counts.
    pub fn count(&self) -> Option<u32> {
        let (count, _) = self.quality.as_ref()?;
        u32::from_str_radix(count, 16).ok()
    }

    /// The header. Old devices read `algorithm`, `qop` and `nc` without quotes only (RFC 7616 section 3.4).
    pub fn write(&self) -> String {
        let mut writer = AuthWriter::digest();
        writer
            .quoted("username", &self.username)
            .quoted("realm", &self.realm)
            .quoted("nonce", &self.nonce)
            .quoted("uri", &self.uri)
            .quoted("response", &self.response)
            .bare("algorithm", self.algorithm);
        if let Some((count, cnonce)) = &self.quality {
            writer.bare("qop", "auth").bare("nc", count).quoted("cnonce", cnonce);
        }
        if let Some(opaque) = &self.opaque {
            writer.quoted("opaque", opaque);
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_one() {
        let good =
            r#"Digest username="u", realm="r", nonce="n", uri="sip:a", response="0123456789abcdef0123456789abcdef""#;
        assert!(Credentials::parse(good).is_some());
        for (more, what) in [
            (", qop=auth", "no nc"),
            (", qop=auth, nc=1, cnonce=\"a\"", "nc too short"),
            (", qop=auth, nc=0000000g, cnonce=\"a\"", "nc no number"),
            (", qop=auth-int, nc=00000001, cnonce=\"a\"", "auth-int"),
            (", algorithm=SHA-256", "response of another length"),
            (", algorithm=MD5-sess", "never offered"),
        ] {
            assert_eq!(Credentials::parse(&format!("{good}{more}")), None, "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            texts in prop::array::uniform4("[a-zA-Z0-9@:;/=, .+]{0,40}"),
            algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
            quality in prop::option::of((any::<u32>(), "[a-z0-9]{0,20}")),
            opaque in prop::option::of("[a-z]{0,9}"),
        ) {
            let [username, realm, nonce, uri] = texts;
            let credentials = Credentials {
                username, realm, nonce, uri,
                response: algorithm.hash(&["x"]),
                algorithm,
                quality: quality.clone().map(|(count, cnonce)| (format!("{count:08x}"), cnonce)),
                opaque,
            };
            prop_assert_eq!(credentials.count(), quality.map(|(count, _)| count));
            prop_assert_eq!(Credentials::parse(&credentials.write()), Some(credentials));
        }

        #[test]
        fn no_text_makes_it_panic(text in "Digest [ -~]{0,200}") {
            let _ = Credentials::parse(&text);
        }
    }
}
