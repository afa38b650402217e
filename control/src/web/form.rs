//! Parameters as a form writes them, and the request that carries them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::signature::{self, signature};
use crate::sip::digest::Secret;
use crate::twiml::{Link, Method};

/// A request that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Where, with the parameters of a GET, and without a user.
    pub(super) url: Url,
    /// The form of a POST.
    pub(super) body: Option<String>,
    /// Name and value.
    pub(super) headers: Vec<(&'static str, String)>,
}

/// Writes a request and signs it.
pub(super) fn write(link: &Link, parameters: &[(String, String)], auth_token: Option<&Secret>) -> Written {
    let mut url = link.url.clone();
    url.set_fragment(None);
    let mut headers = Vec::new();
    headers.extend(basic(&mut url).map(|value| ("Authorization", value)));
    let body = match link.method {
        Method::Get => {
            if !parameters.is_empty() {
                url.query_pairs_mut().extend_pairs(parameters);
            }
            None
        }
        Method::Post => {
            headers.push((
                "Content-Type",
                "application/x-www-form-urlencoded; charset=UTF-8".to_owned(),
            ));
            Some(Serializer::new(String::new()).extend_pairs(parameters).finish())
        }
    };
    let signed: Vec<(&str, &str)> = match link.method {
        Method::Get => Vec::new(),
        Method::Post => parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
    };
    headers.extend(auth_token.map(|token| (signature::HEADER, signature(token, url.as_str(), &signed))));
    Written { url, body, headers }
}

/// Takes user and password out of a URL: they are sent as Basic credentials.
fn basic(url: &mut Url) -> Option<String> {
    let plain = |text| percent_decode_str(text).decode_utf8_lossy();
    let credentials = format!(
        "{}:{}",
        plain(url.username()),
        plain(url.password().unwrap_or_default())
    );
    let has_user = !url.username().is_empty() || url.password().is_some();
    // Of a URL with a host neither can fail.
    let taken = url.set_username("").is_ok() && url.set_password(None).is_ok();
    (has_user && taken).then(|| format!("Basic {}", STANDARD.encode(credentials)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twiml::web_url;

    fn link(method: Method, url: &str) -> Link {
        Link {
            url: web_url(url).unwrap(),
            method,
        }
    }

    #[test]
    fn a_form_is_posted_and_a_query_is_asked_for() {
        let parameters = [
            ("To".to_owned(), "+1555".to_owned()),
            ("Name".to_owned(), "a b&c".to_owned()),
        ];
        let posted = write(
            &link(Method::Post, "http://app.example/voice?x=1#top"),
            &parameters,
            None,
        );
        assert_eq!(posted.url.as_str(), "http://app.example/voice?x=1");
        assert_eq!(posted.body.as_deref(), Some("To=%2B1555&Name=a+b%26c"));
        let asked = write(&link(Method::Get, "http://app.example/voice?x=1"), &parameters, None);
        assert_eq!(
            asked.url.as_str(),
            "http://app.example/voice?x=1&To=%2B1555&Name=a+b%26c"
        );
        assert_eq!(asked.body, None);
        assert!(asked.headers.is_empty());
    }

    /// The URL of a GET is signed with its query, that of a POST with the form; checked against the official SDK's
    /// `RequestValidator` in `tests/`.
    #[test]
    fn what_is_signed_has_no_user_in_it() {
        let token = Secret::new("12345".to_owned());
        let parameters = [("To".to_owned(), "+1555".to_owned())];
        let written = write(
            &link(Method::Post, "https://me:pass%40word@app.example/voice"),
            &parameters,
            Some(&token),
        );
        assert_eq!(written.url.as_str(), "https://app.example/voice");
        let header = |name: &str| {
            let found = written.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(header("Authorization"), Some("Basic bWU6cGFzc0B3b3Jk"));
        let expected = signature(&token, "https://app.example/voice", &[("To", "+1555")]);
        assert_eq!(header(signature::HEADER), Some(expected.as_str()));
    }
}
