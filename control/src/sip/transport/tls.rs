//! TLS 1.2 and 1.3 of SIP (RFC 3261 section 26.2): which certificate we show to whom, and whose we take.
//!
//! Everything is read from files at once, by [`Tls::load`]; [`Tls::reload`] does it again, and only where nothing is wrong
//! does what was read take the place of what was before.

mod material;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::sip::path::PeerId;
use material::{Trust, provider};

/// A certificate and its key, as files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Certificate, then those that lead to its root.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Whether those who connect have to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    Off,
    /// One they show must be good.
    Optional,
    /// They must show a good one.
    Required,
}

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What we show to those who name nobody we know. Without it nothing is listened to.
    pub identity: Option<Identity>,
    /// What we show to those who ask for a name, by lower-case name.
    pub by_name: Vec<(String, Identity)>,
    /// Whether those who connect show one.
    pub client_certificates: ClientCertificates,
    /// Who vouches for them.
    pub client_ca: Option<PathBuf>,
    /// Whom we connect to.
    pub peers: Vec<(PeerId, Peer)>,
}

/// Somebody whom we connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name or address that its certificate has to be for.
    pub host: String,
    /// Who vouches for it; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// What we show if asked.
    pub identity: Option<Identity>,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", file.display())]
pub struct TlsError {
    /// Which.
    pub file: PathBuf,
    /// What is wrong with it and what would be right.
    pub what: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsErrors(pub Vec<TlsError>);

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for TlsErrors {}

/// The certificates in use.
#[derive(Debug)]
pub struct Tls {
    plan: Plan,
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    server: Option<Arc<ServerConfig>>,
    /// Towards those of whom nothing is said.
    client: Option<Arc<ClientConfig>>,
    clients: HashMap<PeerId, (Arc<ClientConfig>, String)>,
}

impl Tls {
    /// Reads everything that the configuration names.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(plan: Plan) -> Result<Self, TlsErrors> {
        let current = RwLock::new(Arc::new(Current::read(&plan)?));
        Ok(Self { plan, current })
    }

    /// Reads it again. Connections that are open keep what they have.
    ///
    /// # Errors
    /// As [`Self::load`]; then everything stays as it is.
    pub fn reload(&self) -> Result<(), TlsErrors> {
        let read = Arc::new(Current::read(&self.plan)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// The handshake with somebody who has connected.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        let server = self.current().server.clone();
        let server = server.ok_or_else(|| io::Error::other("sip.tls has no certificate"))?;
        TlsAcceptor::from(server).accept(stream).await
    }

    /// The handshake with somebody whom we have connected to.
    ///
    /// # Errors
    /// There is none to be had, or it is somebody else.
    pub async fn connect(
        &self,
        stream: TcpStream,
        peer: Option<PeerId>,
        remote: SocketAddr,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let current = self.current();
        let known = peer.and_then(|peer| current.clients.get(&peer));
        let (config, name) = match known {
            Some((config, host)) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                (Arc::clone(config), name)
            }
            None => {
                let config = current.client.clone();
                let config = config.ok_or_else(|| io::Error::other("sip.tls has no certificate"))?;
                (config, ServerName::IpAddress(remote.ip().into()))
            }
        };
        TlsConnector::from(config).connect(name, stream).await
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Current {
    fn read(plan: &Plan) -> Result<Self, TlsErrors> {
        let mut errors = Vec::new();
        let server = server(plan, &mut errors);
        let mut trust = Trust::default();
        let mut clients = HashMap::new();
        for (id, peer) in &plan.peers {
            if let Some(config) = client(peer, &mut trust, &mut errors) {
                clients.insert(*id, (Arc::new(config), peer.host.clone()));
            }
        }
        let anybody = Peer {
            host: String::new(),
            ca: None,
            identity: None,
        };
        // Who uses no TLS needs nobody to trust.
        let client = match plan.identity.is_some() || !plan.peers.is_empty() {
            true => client(&anybody, &mut trust, &mut errors),
            false => None,
        };
        if !errors.is_empty() {
            return Err(TlsErrors(errors));
        }
        Ok(Self {
            server,
            client: client.map(Arc::new),
            clients,
        })
    }
}

/// What we show to those who connect, and what they have to show.
fn server(plan: &Plan, errors: &mut Vec<TlsError>) -> Option<Arc<ServerConfig>> {
    let mut read = |identity: &Identity| material::certified(identity).map_err(|error| errors.push(error)).ok();
    let by_name: HashMap<String, Arc<CertifiedKey>> = plan
        .by_name
        .iter()
        .filter_map(|(name, identity)| Some((name.clone(), read(identity)?)))
        .collect();
    let default = plan.identity.as_ref().and_then(read)?;
    let verifier = match (plan.client_certificates, &plan.client_ca) {
        (ClientCertificates::Off, _) | (_, None) => None,
        (wanted, Some(file)) => {
            let roots = material::roots(file).map_err(|error| errors.push(error)).ok()?;
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            let builder = match wanted {
                ClientCertificates::Required => builder,
                ClientCertificates::Optional | ClientCertificates::Off => builder.allow_unauthenticated(),
            };
            Some(
                builder
                    .build()
                    .map_err(|error| errors.push(material::wrong(file, error)))
                    .ok()?,
            )
        }
    };
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = match (builder, &plan.identity) {
        (Ok(builder), _) => builder,
        (Err(error), identity) => {
            let file = identity.as_ref().map(|one| one.certificate.clone()).unwrap_or_default();
            errors.push(material::wrong(&file, error));
            return None;
        }
    };
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    Some(Arc::new(
        builder.with_cert_resolver(Arc::new(ByName { default, by_name })),
    ))
}

/// What we show to somebody whom we connect to, and what that one has to show.
fn client(peer: &Peer, trust: &mut Trust, errors: &mut Vec<TlsError>) -> Option<ClientConfig> {
    let roots = trust
        .roots(peer.ca.as_deref())
        .map_err(|error| errors.push(error))
        .ok()?;
    let file = peer.ca.clone().unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| errors.push(material::wrong(&file, error)))
        .ok()?
        .with_root_certificates(roots);
    match &peer.identity {
        None => Some(builder.with_no_client_auth()),
        Some(identity) => {
            let certified = material::certified(identity).map_err(|error| errors.push(error)).ok()?;
            Some(builder.with_client_cert_resolver(Arc::new(material::Always(certified))))
        }
    }
}

/// Settings of TLS towards others, by their names.
pub type ClientConfigs = HashMap<String, Arc<ClientConfig>>;

/// Reads what connections to each of these need.
///
/// # Errors
/// Everything that is wrong with the files.
pub fn clients(peers: Vec<(String, Peer)>) -> Result<ClientConfigs, TlsErrors> {
    let (mut trust, mut errors) = (Trust::default(), Vec::new());
    let configs = peers
        .into_iter()
        .filter_map(|(name, peer)| Some((name, Arc::new(client(&peer, &mut trust, &mut errors)?))))
        .collect();
    match errors.is_empty() {
        true => Ok(configs),
        false => Err(TlsErrors(errors)),
    }
}

/// Settings of TLS towards whom the system trusts.
///
/// # Errors
/// There is no cipher to speak it with.
pub fn system_client() -> Result<Arc<ClientConfig>, TlsErrors> {
    let anybody = Peer {
        host: String::new(),
        ca: None,
        identity: None,
    };
    let configs = clients(vec![(String::new(), anybody)])?;
    configs.into_values().next().ok_or_else(TlsErrors::default)
}

/// Settings of TLS towards those for whom a file's certificates vouch.
///
/// # Errors
/// What is wrong with the file.
pub fn trusting(ca: &Path) -> Result<Arc<ClientConfig>, TlsErrors> {
    let peer = Peer {
        host: String::new(),
        ca: Some(ca.to_owned()),
        identity: None,
    };
    let configs = clients(vec![(String::new(), peer)])?;
    configs.into_values().next().ok_or_else(TlsErrors::default)
}

/// The certificate of the name that is asked for (RFC 6066 section 3), else the one for everybody.
#[derive(Debug)]
struct ByName {
    default: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .and_then(|name| self.by_name.get(&name.to_ascii_lowercase()));
        Some(Arc::clone(named.unwrap_or(&self.default)))
    }
}
