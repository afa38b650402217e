//! What a refusal says beside its status: where a call may go instead, and when to try again.

use std::time::Duration;

use super::super::api::{Failure, Redirect};
use super::super::path::Transport;
use super::super::syntax::{NameAddr, Response, Scheme};

/// What a refusal says beside its status.
pub(super) fn refusal(response: &Response) -> Failure {
    Failure::Refused {
        redirects: match response.status {
            300..=399 => redirects(&response.fields.contacts),
            _ => Vec::new(),
        },
        retry_after: response.fields.retry_after.as_deref().and_then(seconds),
    }
}

/// The seconds that a header begins with: what follows, a comment or parameters, is left out.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let digits = text.trim().split(|c: char| !c.is_ascii_digit()).next()?;
    digits
        .parse()
        .ok()
        .map(|seconds: u32| Duration::from_secs(seconds.into()))
}

/// The contacts of a 3xx that can be called, in order of their `q`, which is 1 where it is not written (RFC 3261 section
/// 20.10).
fn redirects(contacts: &[String]) -> Vec<Redirect> {
    let read = |text: &String| {
        let contact = NameAddr::parse(text).ok()?;
        let transport = match contact.uri.scheme {
            Scheme::Sip => contact.uri.transport,
            Scheme::Sips => Some(Transport::Tls),
            Scheme::Tel => None,
            Scheme::Other => return None,
        };
        let address = contact.address();
        let q = contact.params.get("q").and_then(thousandths).unwrap_or(1000);
        Some((q, Redirect { address, transport }))
    };
    let mut read: Vec<(u16, Redirect)> = contacts.iter().filter_map(read).collect();
    read.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    read.into_iter().map(|(_, redirect)| redirect).collect()
}

/// `0.7` in thousandths; `None` if it is not from 0 to 1.
fn thousandths(q: &str) -> Option<u16> {
    let (whole, part) = q.split_once('.').unwrap_or((q, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| digits)?;
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    Some(whole * 1000 + part).filter(|q| *q <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_in_order_of_preference() {
        let contacts = [
            "<sip:a@192.0.2.1>;q=0.5",
            "<sip:b@b.example;transport=tcp>",
            "<mailto:c@example>",
            "tel:+1-555-0100;q=0.75",
            "<sips:d@[2001:db8::1]:5070>;q=0.9",
            "nonsense",
        ]
        .map(str::to_owned);
        let found = redirects(&contacts).into_iter().map(|redirect| {
            let Redirect { address, transport } = redirect;
            (address.user, address.host, address.port, transport)
        });
        let expected = [
            ("b", "b.example", None, Some(Transport::Tcp)),
            ("d", "2001:db8::1", Some(5070), Some(Transport::Tls)),
            ("+15550100", "", None, None),
            ("a", "192.0.2.1", None, None),
        ];
        let expected =
            expected.map(|(user, host, port, transport)| (user.to_owned(), host.to_owned(), port, transport));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn preferences() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("0.7", Some(700)),
            ("0.125", Some(125)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("2", None),
            ("0.1234", None),
            ("0.x", None),
            ("-1", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
