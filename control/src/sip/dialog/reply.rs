//! What the responses to one request copy from it (RFC 3261 section 8.2.6).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::sip::path::{Path, Transport};
use crate::sip::syntax::fields::Fields;
use crate::sip::syntax::{NameAddr, Request, Via, Writer, status};

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Where responses go.
    pub path: Path,
    vias: Vec<String>,
    from: Option<String>,
    to: Option<String>,
    tagged: bool,
    call_id: Option<String>,
    cseq: Option<String>,
    record_routes: Vec<String>,
    timestamp: Option<String>,
}

impl Reply {
    /// To a sound request that came along `path`. The Vias below the topmost are copied as they are (RFC 3261 section
    /// 8.2.6.2).
    pub fn new(request: &Request, path: Path) -> Self {
        let below = request.fields.vias.iter().skip(1).cloned();
        Self::along(&request.fields, request.via.clone(), below, path)
    }

    /// To a request of which only the topmost Via need be sound.
    pub fn to_damaged(fields: &Fields, via: Via, path: Path) -> Self {
        // What is left of a list that is damaged is no Via.
        let below = fields.vias.iter().skip(1).filter(|via| via.contains('/')).cloned();
        Self::along(fields, via, below, path)
    }

    fn along(fields: &Fields, mut via: Via, below: impl Iterator<Item = String>, path: Path) -> Self {
        let remote: SocketAddr = match path.transport {
            Transport::Udp => via.response_address(path.remote),
            Transport::Tcp | Transport::Tls => via.reconnect_address(path.remote, path.transport.default_port()),
        };
        via.stamp(path.remote);
        Self {
            path: Path { remote, ..path },
            vias: std::iter::once(via.to_string()).chain(below).collect(),
            from: fields.from.clone(),
            to: fields.to.clone(),
            // A To that cannot be read is left alone.
            tagged: fields
                .to
                .as_deref()
                .is_none_or(|to| NameAddr::parse(to).map_or(true, |to| to.tag().is_some())),
            call_id: fields.call_id.clone(),
            cseq: fields.cseq.clone(),
            record_routes: fields.record_routes.clone(),
            timestamp: fields.timestamp.clone(),
        }
    }

    /// The first headers of a response with the usual reason phrase. `tag` is added to a To that has none; a 100 goes
    /// without.
    pub fn write(&self, status: u16, tag: &str) -> Writer {
        self.write_reason(status, status::phrase(status), tag)
    }

    /// The same with another reason phrase.
    pub fn write_reason(&self, status: u16, reason: &str, tag: &str) -> Writer {
        let mut writer = Writer::response(status, reason);
        for via in &self.vias {
            writer.header("Via", via);
        }
        if let Some(from) = &self.from {
            writer.header("From", from);
        }
        match &self.to {
            Some(to) if self.tagged || status == 100 => writer.header("To", to),
            Some(to) => writer.header("To", format_args!("{to};tag={tag}")),
            None => &mut writer,
        };
        if let Some(call_id) = &self.call_id {
            writer.header("Call-ID", call_id);
        }
        if let Some(cseq) = &self.cseq {
            writer.header("CSeq", cseq);
        }
        if let (100, Some(timestamp)) = (status, &self.timestamp) {
            writer.header("Timestamp", timestamp);
        }
        writer
    }

    /// Adds the Record-Route headers, which a response that makes a dialog copies (RFC 3261 section 12.1.1).
    pub fn record_routes(&self, writer: &mut Writer) {
        for route in &self.record_routes {
            writer.header("Record-Route", route);
        }
    }
}
