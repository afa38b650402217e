//! The requests that share an INVITE's branch and travel its way: ACK to a refusal (RFC 3261 section 17.1.1.3) and CANCEL
//! (section 9.1). What they copy is also what makes any request within a dialog.

use serde::{Deserialize, Serialize};

use super::Path;
use crate::sip::syntax::Writer;

/// What such a request copies from its INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Where the INVITE went.
    pub path: Path,
    /// Where it would have gone, had it not been too large for UDP: the dialog's own way.
    pub dialog: Path,
    /// Request-URI.
    pub uri: String,
    /// Branch.
    pub branch: String,
    /// From with our tag.
    pub from: String,
    /// To: without a tag, but in a re-INVITE.
    pub to: String,
    /// Route, first hop first.
    pub routes: Vec<String>,
    /// Whether the dialog was there before.
    pub within_dialog: bool,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// Max-Forwards.
    pub max_forwards: u8,
    /// The INVITE's credentials, which the ACK to a 2xx repeats (RFC 3261 section 13.2.2.4): header names and values.
    pub credentials: Vec<(String, String)>,
}

impl Hop {
    /// The first headers of a request on this hop; `to` is To with the tag it needs.
    pub fn request(&self, method: &str, to: &str) -> Writer {
        let mut writer = Writer::request(method, &self.uri);
        writer
            .header("Via", via(self.path, &self.branch))
            .header("Max-Forwards", self.max_forwards);
        for route in &self.routes {
            writer.header("Route", route);
        }
        writer
            .header("From", &self.from)
            .header("To", to)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format_args!("{} {method}", self.cseq));
        writer
    }
}

/// Our Via; it asks for the response to come where the request came from (RFC 3581).
pub fn via(path: Path, branch: &str) -> String {
    format!("SIP/2.0/{} {};branch={branch};rport", path.transport.via(), path.local)
}
