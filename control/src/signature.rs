//! `X-Twilio-Signature`: shows whoever gets a request that it comes from who has the account's auth token.
//!
//! Base64 of HMAC-SHA1, keyed with the auth token, over the URL as it is asked for and, of a form that is posted, each
//! parameter's name and value, sorted by name. Of a WebSocket there is only the URL, `wss://…` as it is written.
//! <https://www.twilio.com/docs/usage/security#validating-requests>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::sip::digest::Secret;

/// The header.
pub const HEADER: &str = "X-Twilio-Signature";

/// What signs a request of `url` with the `parameters` of the form that is posted, if one is.
pub fn signature(auth_token: &Secret, url: &str, parameters: &[(&str, &str)]) -> String {
    let mut sorted = parameters.to_vec();
    sorted.sort_unstable();
    // As the validators of Twilio's SDKs read it.
    sorted.dedup();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(url.as_bytes());
    for (name, value) in sorted {
        context.update(name.as_bytes());
        context.update(value.as_bytes());
    }
    STANDARD.encode(context.sign())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Twilio's page on validating requests.
    #[test]
    fn the_documented_example() {
        let token = Secret::new("12345".to_owned());
        let url = "https://example.com/myapp.php?foo=1&bar=2";
        let parameters = [
            ("Digits", "1234"),
            ("To", "+18005551212"),
            ("From", "+14158675310"),
            ("Caller", "+14158675310"),
            ("CallSid", "CA1234567890ABCDE"),
        ];
        assert_eq!(signature(&token, url, &parameters), "L/OH5YylLD5NRKLltdqwSvS0BnU=");
    }

    #[test]
    fn a_url_alone_is_signed_as_it_is_written() {
        let token = Secret::new("12345".to_owned());
        let plain = signature(&token, "wss://bot.example/media", &[]);
        assert_ne!(plain, signature(&token, "wss://bot.example:443/media", &[]));
        assert_ne!(
            plain,
            signature(&Secret::new("12346".to_owned()), "wss://bot.example/media", &[])
        );
    }
}
