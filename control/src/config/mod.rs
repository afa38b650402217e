//! Configuration: TOML in, a validated [`Config`] out.
//!
//! 1. [`Config::load`], [`Config::embedded`] or [`Config::parse`] take the text;
//! 2. `reader` walks the TOML tree: every value keeps its line, `${NAME}` is replaced (`expand`), a key nobody asked for is
//!    an error with the nearest known one (`suggest`);
//! 3. `sections` reads each section, one function a section, each value by a parser of `value`, `media`, `login`, `account`, `fallback`, `route`, `transfer`, `overload`, `cores`, `dscp` or
//!    `agent_url`, `agent_protocol`;
//! 4. `check` holds the sections against each other: names, references, DIDs that overlap, ports that are taken twice.
//!
//! Nothing stops at the first mistake: what is wrong is collected, each with file, line, key and what would be right
//! ([`ConfigErrors`]). The tree is walked by hand rather than through serde derives, which end at the first error.

mod account;
mod agent_limits;
mod agent_protocol;
mod agent_url;
mod application;
mod carrier;
mod check;
mod cores;
mod dialogs;
mod dscp;
pub mod duration;
mod error;
mod expand;
mod fallback;
mod gateways;
mod login;
mod media;
pub mod model;
mod overload;
mod reader;
mod realtime;
mod route;
mod sections;
mod suggest;
mod transfer;
mod value;

use std::path::Path;

pub use agent_url::web_socket_host;
pub use dscp::Dscp;
pub use error::{ConfigError, ConfigErrors};
pub(crate) use media::pin;
pub use model::Config;
pub(crate) use suggest::nearest;
pub(crate) use value::{header_name, split_host_port};

use crate::sip::transport::tls::{Peer, Plan};
use crate::sip::{Domains, PeerId};
use model::{Agent, Did, Gateway, Routing, Transport, Trunk};
use reader::Reader;

/// Most gateways of a trunk.
const MOST_GATEWAYS: usize = 64;

/// The text of the embedded defaults, `config/default.toml`.
pub const DEFAULT: &str = include_str!("../../../config/default.toml");

impl Config {
    /// Reads a file, with the environment of this process.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &file, &environment),
            Err(error) => Err(ConfigErrors::unreadable(&file, &error)),
        }
    }

    /// The embedded defaults, with the environment of this process.
    ///
    /// # Errors
    /// What the environment made wrong: the defaults name variables.
    pub fn embedded() -> Result<Self, ConfigErrors> {
        Self::parse(DEFAULT, "embedded default.toml", &environment)
    }

    /// Reads a text. `file` names it in errors; `environment` looks up variables.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let reader = Reader::new(file, text, environment);
        let config = reader
            .root(text)
            .map(|root| check::config(&reader, sections::read(root)));
        match (config, reader.into_errors()) {
            (Some(config), None) => Ok(config),
            (_, errors) => Err(errors.unwrap_or_default()),
        }
    }

    /// Which certificates SIP over TLS needs: ours, tenants' by their domains, and what the gateways of trunks are to show.
    pub fn tls(&self) -> Plan {
        let by_name = self.tenants.iter().flat_map(|tenant| {
            let identity = tenant.identity.as_ref();
            let names = tenant.domains.iter().map(|domain| domain.to_ascii_lowercase());
            names.filter_map(move |name| Some((name, identity?.clone())))
        });
        let listens = self.sip.listen.iter().any(|listen| listen.transport == Transport::Tls);
        // Where nothing is said of the transport, DNS may say so.
        let may_be_tls = |gateway: &Gateway| match gateway.place.transport {
            Some(transport) => transport == Transport::Tls,
            None => listens && gateway.place.port.is_none() && gateway.place.literal().is_none(),
        };
        let peers = (0..).zip(&self.trunks).flat_map(|(place, trunk)| {
            let gateways = (0..).zip(&trunk.gateways);
            let peer = |gateway: &Gateway| Peer {
                host: gateway.place.host.clone(),
                ca: trunk.tls_ca.clone(),
                identity: trunk.tls_identity.clone(),
            };
            let over_tls = gateways.filter(move |(_, gateway)| may_be_tls(gateway));
            over_tls.map(move |(index, gateway)| (peer_id(place, index), peer(gateway)))
        });
        Plan {
            identity: self.sip.tls.identity.clone(),
            by_name: by_name.collect(),
            client_certificates: self.sip.tls.client_certificates,
            client_ca: self.sip.tls.client_ca.clone(),
            peers: peers.collect(),
        }
    }

    /// Agents of whom, or to whom, connections over TLS need more than what the system trusts, by name.
    pub fn agent_peers(&self) -> Vec<(String, Peer)> {
        let own = |agent: &&Agent| agent.ca.is_some() || agent.identity.is_some();
        let agents = self.agents.iter().filter(own);
        let peer = |agent: &Agent| Peer {
            // The name that the certificate has to be for is the URL's.
            host: String::new(),
            ca: agent.ca.clone(),
            identity: agent.identity.clone(),
        };
        agents.map(|agent| (agent.name.clone(), peer(agent))).collect()
    }

    /// Whose domains calls may be addressed to.
    pub fn domains(&self) -> Domains {
        let tenants = self.tenants.iter().flat_map(|tenant| {
            let domains = tenant.domains.iter();
            domains.map(|domain| (domain.as_str(), tenant.name.as_str()))
        });
        let Routing {
            domain_template,
            unknown_tenant,
            domains,
        } = &self.route;
        Domains::new(tenants, domain_template, domains.as_deref(), *unknown_tenant)
    }

    /// The trunk of this name, and whom connections to its first gateway are opened to.
    pub fn trunk(&self, name: &str) -> Option<(PeerId, &Trunk)> {
        let trunks = (0..).zip(&self.trunks);
        let mut named = trunks.filter(|(_, trunk)| trunk.name == name);
        named.next().map(|(place, trunk)| (peer_id(place, 0), trunk))
    }

    /// Whom connections to a gateway of a trunk, named by its place in the trunk, are opened to.
    pub fn peer(&self, trunk: &str, gateway: u8) -> Option<PeerId> {
        let place = (0..).zip(&self.trunks).find(|(_, known)| known.name == trunk)?.0;
        Some(peer_id(place, gateway))
    }

    /// The DID a number (E.164 with '+') belongs to.
    pub fn did(&self, number: &str) -> Option<&Did> {
        let order = |did: &Did| (did.first.len(), did.first.as_str()) <= (number.len(), number);
        let candidate = self.dids[..self.dids.partition_point(order)].last()?;
        let holds = candidate.last.len() == number.len() && number <= candidate.last.as_str();
        holds.then_some(candidate)
    }
}

/// Each trunk has room for [`MOST_GATEWAYS`].
fn peer_id(trunk: u32, gateway: u8) -> PeerId {
    PeerId(trunk << 8 | u32::from(gateway))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
