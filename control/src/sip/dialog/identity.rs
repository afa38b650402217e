//! What makes a dialog's requests: tags, CSeq numbers, route set and remote target (RFC 3261 sections 12.1 and 12.2.1.1).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::sip::api::MAX_FORWARDS;
use crate::sip::path::{Listen, Path, PeerId, Transport};
use crate::sip::syntax::{NameAddr, Request, Response, Uri, Writer};
use crate::sip::transaction::hop::Hop;

/// Who talks with whom, and by which way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// Their tag; `None` until it is known, and with a peer of RFC 2543 that has none.
    pub remote_tag: Option<String>,
    /// Whether we placed the call, and made its Call-ID.
    pub is_ours: bool,
    /// CSeq number of our last request.
    pub local_cseq: u32,
    /// CSeq number of their last request; `None` before the first.
    pub remote_cseq: Option<u32>,
    /// From of our requests, with tag.
    local: String,
    /// To of our requests, with tag.
    remote: String,
    /// Their Contact: Request-URI of our requests.
    target: String,
    /// Route set, first hop first.
    routes: Vec<String>,
    /// Our address, and where messages were seen to come from or sent to.
    path: Path,
    /// Where the other side is reached once a connection is gone.
    reconnect: SocketAddr,
    /// Requests go where theirs came from, not where their Contact says: they sit behind an address translator.
    translated: bool,
}

impl Identity {
    /// Of a call that comes in. `source` is where the INVITE came from.
    pub fn incoming(request: &Request, local_tag: String, source: Path) -> Self {
        Self {
            call_id: request.call_id.clone(),
            remote_tag: request.from.tag().map(str::to_owned),
            is_ours: false,
            local_cseq: 0,
            remote_cseq: Some(request.cseq),
            local: format!("{};tag={local_tag}", request.to.as_str()),
            local_tag,
            remote: request.from.as_str().to_owned(),
            target: request
                .contact
                .as_ref()
                .map_or_else(String::new, |c| c.uri.as_str().to_owned()),
            routes: request.fields.record_routes.clone(),
            reconnect: match source.transport {
                Transport::Udp => source.remote,
                Transport::Tcp | Transport::Tls => request
                    .via
                    .reconnect_address(source.remote, source.transport.default_port()),
            },
            path: source,
            translated: request.fields.vias.len() == 1 && request.via.is_translated(source.remote),
        }
    }

    /// Of a call that is being placed by the INVITE on this hop.
    pub fn outgoing(hop: &Hop, local_tag: String) -> Self {
        Self {
            call_id: hop.call_id.clone(),
            local_tag,
            remote_tag: None,
            is_ours: true,
            local_cseq: hop.cseq,
            remote_cseq: None,
            local: hop.from.clone(),
            remote: hop.to.clone(),
            target: hop.uri.clone(),
            routes: Vec::new(),
            path: hop.dialog,
            reconnect: hop.dialog.remote,
            translated: false,
        }
    }

    /// The same, once a 2xx, which `came` this way, has named the other side (RFC 3261 section 12.1.2).
    pub fn answered(&self, response: &Response, came: Path) -> Self {
        let mut path = self.path;
        if came.transport == path.transport {
            path.connection = came.connection;
        }
        Self {
            path,
            remote_tag: response.to.tag().map(str::to_owned),
            remote: response.to.as_str().to_owned(),
            target: response
                .contact
                .as_ref()
                .map_or_else(|| self.target.clone(), |c| c.uri.as_str().to_owned()),
            routes: response.fields.record_routes.iter().rev().cloned().collect(),
            ..self.clone()
        }
    }

    /// Takes over the Contact of a re-INVITE (RFC 3261 section 12.2.2).
    pub fn retarget(&mut self, target: String) {
        self.target = target;
    }

    /// A request of the other side came this way: where it has opened another connection, ours take that, too.
    pub fn seen_on(&mut self, came: Path) {
        let same = came.transport == self.path.transport && came.remote.ip() == self.path.remote.ip();
        if same && came.connection.is_some() {
            self.path.connection = came.connection;
            self.path.remote = came.remote;
        }
    }

    /// Whom a connection to the other side is opened to.
    pub fn belongs_to(&mut self, peer: PeerId) {
        self.path.peer = Some(peer);
    }

    /// Whether a request with this From tag is the other side's.
    pub fn is_from(&self, tag: Option<&str>) -> bool {
        self.remote_tag.as_deref() == tag
    }

    /// Which way the next request takes: to the first route, else the remote target, where that is an address literal;
    /// else to where the other side was last seen. There is no resolver in the core. A connection to the same host is used
    /// again, whatever port it comes from: that is what the field does, and address translators need.
    pub fn next_hop(&self, listen: &[Listen]) -> Path {
        let uri = match self.routes.first() {
            Some(route) => NameAddr::parse(route).ok().map(|route| route.uri),
            None if self.translated => None,
            None => Uri::parse(&self.target).ok(),
        };
        let (transport, local) = self.way(uri.as_ref().and_then(|uri| uri.transport), listen);
        let literal = uri.and_then(|uri| uri.literal(transport.default_port()));
        let same_family = literal.filter(|to| to.is_ipv4() == self.path.local.is_ipv4());
        let remote = same_family.unwrap_or(self.reconnect);
        let connected = transport == self.path.transport && remote.ip() == self.path.remote.ip();
        Path {
            local,
            remote,
            transport,
            connection: self.path.connection.filter(|_| connected),
            peer: self.path.peer,
        }
    }

    /// The transport a URI asks for, where we have it, else the dialog's. What nobody on the way could read stays so.
    fn way(&self, asked: Option<Transport>, listen: &[Listen]) -> (Transport, SocketAddr) {
        let stays = (self.path.transport, self.path.local);
        match (self.path.transport, asked) {
            (Transport::Tls, _) | (_, None | Some(Transport::Tls)) => stays,
            (before, Some(asked)) if before == asked => stays,
            (_, Some(asked)) => {
                let ip = self.path.local.ip();
                let local = listen.iter().find_map(|listen| listen.at(asked, ip));
                local.map_or(stays, |local| (asked, local))
            }
        }
    }

    /// Their Contact.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Request-URI of the next request: the remote target, or a strict router on the way (RFC 3261 section 12.2.1.1).
    pub fn request_uri(&self) -> String {
        match self.strict_router() {
            Some(router) => router.uri.as_str().to_owned(),
            None => self.target.clone(),
        }
    }

    fn strict_router(&self) -> Option<NameAddr> {
        let first = NameAddr::parse(self.routes.first()?).ok()?;
        (!first.uri.is_loose_router()).then_some(first)
    }

    /// What makes a request in the dialog that takes this way (RFC 3261 section 12.2.1.1).
    pub fn hop(&self, cseq: u32, branch: String, path: Path) -> Hop {
        // A strict router wants itself as Request-URI and the target as last route.
        let strict = self.strict_router();
        let skipped = usize::from(strict.is_some());
        let target = strict.is_some().then(|| format!("<{}>", self.target));
        Hop {
            path,
            dialog: path,
            uri: self.request_uri(),
            branch,
            from: self.local.clone(),
            to: self.remote.clone(),
            routes: self.routes.iter().skip(skipped).cloned().chain(target).collect(),
            within_dialog: true,
            call_id: self.call_id.clone(),
            cseq,
            max_forwards: MAX_FORWARDS,
            credentials: Vec::new(),
        }
    }

    /// The first headers of such a request.
    pub fn request(&self, method: &str, cseq: u32, branch: &str, path: Path) -> Writer {
        self.hop(cseq, branch.to_owned(), path).request(method, &self.remote)
    }
}
