//! Messages whose mandatory headers are present and sound (RFC 3261 sections 8.1.1 and 8.2.2).

use super::fields::Fields;
use super::frame::{Framed, StartLine};
use super::{NameAddr, Scheme, Uri, Via};
use crate::sip::api::MAX_FORWARDS;

/// A method; case-sensitive (RFC 3261 section 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// One the standards define.
    Known(rsip::Method),
    /// Any other token.
    Unknown(String),
}

impl Method {
    /// Reads a method.
    pub fn new(text: &str) -> Self {
        use rsip::Method as M;
        Self::Known(match text {
            "INVITE" => M::Invite,
            "ACK" => M::Ack,
            "BYE" => M::Bye,
            "CANCEL" => M::Cancel,
            "OPTIONS" => M::Options,
            "REGISTER" => M::Register,
            "INFO" => M::Info,
            "PRACK" => M::PRack,
            "UPDATE" => M::Update,
            "SUBSCRIBE" => M::Subscribe,
            "NOTIFY" => M::Notify,
            "PUBLISH" => M::Publish,
            "REFER" => M::Refer,
            "MESSAGE" => M::Message,
            other => return Self::Unknown(other.to_owned()),
        })
    }
}

/// Why a message is refused: status and reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Fault {
    /// 400, 416 or 505.
    pub status: u16,
    /// What is wrong.
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Fault {
    Fault { status: 400, reason }
}

/// A sound request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Method as written.
    pub method_text: String,
    /// Request-URI.
    pub uri: Uri,
    /// Topmost Via.
    pub via: Via,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// Contact; always there in an INVITE.
    pub contact: Option<NameAddr>,
    /// All headers looked at.
    pub fields: Fields,
    /// Body.
    pub body: Vec<u8>,
    /// Bytes of the message as it came.
    pub length: usize,
}

impl Request {
    /// How many more hops it may take; as many as a new one if it does not say.
    pub fn max_forwards(&self) -> u8 {
        let written = self.fields.max_forwards.as_deref();
        written.and_then(|text| text.parse().ok()).unwrap_or(MAX_FORWARDS)
    }
}

/// A sound response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status, 100-699.
    pub status: u16,
    /// Reason phrase, maybe empty.
    pub reason: String,
    /// The only Via: ours.
    pub via: Via,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// CSeq method.
    pub method: Method,
    /// Contact, if there is one.
    pub contact: Option<NameAddr>,
    /// All headers looked at.
    pub fields: Fields,
    /// Body.
    pub body: Vec<u8>,
}

/// A sound message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Box<Request>),
    /// A response.
    Response(Box<Response>),
}

/// What every message must have.
struct Common {
    via: Via,
    from: NameAddr,
    to: NameAddr,
    call_id: String,
    cseq: u32,
    cseq_method: String,
}

/// What a request has beyond that.
struct Checked {
    uri: Uri,
    contact: Option<NameAddr>,
}

impl Message {
    /// Checks a framed message.
    ///
    /// # Errors
    /// The first [`Fault`] found (version, then headers, then Request-URI), and the message, to be answered by.
    pub fn new(framed: Framed) -> Result<Self, Box<(Fault, Framed)>> {
        let common = match common(&framed.start, &framed.fields) {
            Ok(common) => common,
            Err(fault) => return Err(Box::new((fault, framed))),
        };
        match &framed.start {
            StartLine::Request { method, uri, .. } => match check(method, uri, &common, &framed.fields) {
                Ok(checked) => Ok(Self::request(method.clone(), checked, common, framed)),
                Err(fault) => Err(Box::new((fault, framed))),
            },
            StartLine::Response { .. } if framed.fields.vias.len() != 1 => {
                Err(Box::new((bad("More Than One Via"), framed)))
            }
            StartLine::Response { status, reason } => Ok(Self::response(*status, reason.clone(), common, framed)),
        }
    }

    fn request(method_text: String, checked: Checked, common: Common, framed: Framed) -> Self {
        Self::Request(Box::new(Request {
            method: Method::new(&method_text),
            method_text,
            uri: checked.uri,
            via: common.via,
            from: common.from,
            to: common.to,
            call_id: common.call_id,
            cseq: common.cseq,
            contact: checked.contact,
            fields: framed.fields,
            body: framed.body,
            length: framed.length,
        }))
    }

    fn response(status: u16, reason: String, common: Common, framed: Framed) -> Self {
        Self::Response(Box::new(Response {
            status,
            reason,
            via: common.via,
            from: common.from,
            to: common.to,
            call_id: common.call_id,
            cseq: common.cseq,
            method: Method::new(&common.cseq_method),
            contact: framed
                .fields
                .contacts
                .first()
                .and_then(|text| NameAddr::parse(text).ok()),
            fields: framed.fields,
            body: framed.body,
        }))
    }
}

fn check(method: &str, uri: &str, common: &Common, fields: &Fields) -> Result<Checked, Fault> {
    if common.cseq_method != method {
        return Err(bad("CSeq Method Mismatch"));
    }
    if let Some(text) = &fields.max_forwards {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || text.parse::<u8>().is_err() {
            return Err(bad("Malformed Max-Forwards"));
        }
    }
    let uri = Uri::parse_request(uri).map_err(|_| bad("Malformed Request-URI"))?;
    if uri.scheme == Scheme::Other {
        return Err(Fault {
            status: 416,
            reason: "Unsupported URI Scheme",
        });
    }
    let contact = match (method, fields.contacts.as_slice()) {
        // RFC 2543 did not ask for one: requests go to whom the INVITE is from (RFC 4475 section 3.4.1).
        ("INVITE", []) if !common.via.is_of_rfc_3261() => Some(common.from.clone()),
        ("INVITE", []) => return Err(bad("Missing Contact")),
        ("INVITE", [one]) => Some(NameAddr::parse(one).map_err(|_| bad("Malformed Contact"))?),
        ("INVITE", [_, ..]) => return Err(bad("More Than One Contact")),
        // Where a request may bring another remote target (RFC 3311 section 5.2), or none.
        (_, contacts) => contacts.first().and_then(|text| NameAddr::parse(text).ok()),
    };
    Ok(Checked { uri, contact })
}

fn common(start: &StartLine, fields: &Fields) -> Result<Common, Fault> {
    match start {
        StartLine::Request { version, .. } if !version.eq_ignore_ascii_case("SIP/2.0") => {
            return Err(Fault {
                status: 505,
                reason: "Version Not Supported",
            });
        }
        StartLine::Request { .. } | StartLine::Response { .. } => {}
    }
    if let Some(fault) = fields.fault {
        return Err(bad(fault));
    }
    let via = fields.vias.first().ok_or(bad("Missing Via"))?;
    let from = fields.from.as_ref().ok_or(bad("Missing From"))?;
    let to = fields.to.as_ref().ok_or(bad("Missing To"))?;
    let call_id = fields.call_id.as_ref().ok_or(bad("Missing Call-ID"))?;
    let cseq = fields.cseq.as_ref().ok_or(bad("Missing CSeq"))?;
    if call_id.is_empty() || call_id.contains(char::is_whitespace) {
        return Err(bad("Malformed Call-ID"));
    }
    let (number, method) = cseq.split_once([' ', '\t']).ok_or(bad("Malformed CSeq"))?;
    let cseq = match number.parse::<u32>() {
        // RFC 3261 section 8.1.1.5: less than 2^31. A sign is no digit.
        Ok(cseq) if cseq < 1 << 31 && !number.starts_with('+') => cseq,
        Ok(_) | Err(_) => return Err(bad("Malformed CSeq")),
    };
    Ok(Common {
        via: Via::parse(via).map_err(|_| bad("Malformed Via"))?,
        from: NameAddr::parse(from).map_err(|_| bad("Malformed From"))?,
        to: NameAddr::parse(to).map_err(|_| bad("Malformed To"))?,
        call_id: call_id.clone(),
        cseq,
        cseq_method: method.trim().to_owned(),
    })
}
