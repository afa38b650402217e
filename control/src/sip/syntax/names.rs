//! Header names, however they are written: any case, compact forms (RFC 3261 section 7.3.3).

use rsip::Header;
use rsip::headers::{UntypedHeader, untyped as h};

/// Longest name that is recognised.
const LONGEST: usize = 20;

/// The header of this name; names the core has no use for end as [`Header::Other`] under their long form.
pub fn header(name: &str, value: String) -> Header {
    let mut buffer = [0; LONGEST];
    let Some(lower) = buffer.get_mut(..name.len()) else {
        return Header::Other(name.to_owned(), value);
    };
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"via" | b"v" => Header::Via(h::Via::new(value)),
        b"from" | b"f" => Header::From(h::From::new(value)),
        b"to" | b"t" => Header::To(h::To::new(value)),
        b"call-id" | b"i" => Header::CallId(h::CallId::new(value)),
        b"cseq" => Header::CSeq(h::CSeq::new(value)),
        b"contact" | b"m" => Header::Contact(h::Contact::new(value)),
        b"max-forwards" => Header::MaxForwards(h::MaxForwards::new(value)),
        b"record-route" => Header::RecordRoute(h::RecordRoute::new(value)),
        b"route" => Header::Route(h::Route::new(value)),
        b"require" => Header::Require(h::Require::new(value)),
        b"supported" | b"k" => Header::Supported(h::Supported::new(value)),
        b"content-length" | b"l" => Header::ContentLength(h::ContentLength::new(value)),
        b"content-type" | b"c" => Header::ContentType(h::ContentType::new(value)),
        b"content-encoding" | b"e" => Header::ContentEncoding(h::ContentEncoding::new(value)),
        b"content-disposition" => Header::ContentDisposition(h::ContentDisposition::new(value)),
        b"timestamp" => Header::Timestamp(h::Timestamp::new(value)),
        b"subject" | b"s" => Header::Subject(h::Subject::new(value)),
        b"event" | b"o" => Header::Event(h::Event::new(value)),
        b"allow" => Header::Allow(h::Allow::new(value)),
        b"user-agent" => Header::UserAgent(h::UserAgent::new(value)),
        b"server" => Header::Server(h::Server::new(value)),
        b"accept" => Header::Accept(h::Accept::new(value)),
        b"r" => Header::Other("Refer-To".to_owned(), value),
        b"b" => Header::Other("Referred-By".to_owned(), value),
        b"x" => Header::Other("Session-Expires".to_owned(), value),
        b"y" => Header::Other("Identity".to_owned(), value),
        b"u" => Header::Other("Allow-Events".to_owned(), value),
        b"a" => Header::Other("Accept-Contact".to_owned(), value),
        b"j" => Header::Other("Reject-Contact".to_owned(), value),
        b"d" => Header::Other("Request-Disposition".to_owned(), value),
        _ => Header::Other(name.to_owned(), value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_compact_forms() {
        assert_eq!(header("V", "x".into()), Header::Via(h::Via::new("x")));
        assert_eq!(header("CALL-id", "x".into()), Header::CallId(h::CallId::new("x")));
        assert_eq!(header("r", "x".into()), Header::Other("Refer-To".into(), "x".into()));
        assert_eq!(
            header("X-A-Very-Long-Name-Indeed", "x".into()),
            Header::Other("X-A-Very-Long-Name-Indeed".into(), "x".into())
        );
    }
}
