//! DNS: the resolver of hickory, which keeps what it was told for as long as that is good.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::{NAPTR, SRV};
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::timeout;
use tracing::warn;

use super::locate::{Ask, locate};
use crate::config::model::Config;
use crate::sip::Transport;
use crate::sip::locate::{Destination, Naptr, Place, Srv};

/// A place that takes longer to find than this is taken for unknown.
const PATIENCE: Duration = Duration::from_secs(5);
/// One question is asked again after this long.
const QUESTION: Duration = Duration::from_millis(1500);

/// Who is asked, and for what.
#[derive(Clone)]
pub(super) struct Dns {
    /// Or why there is none: addresses can be called all the same.
    resolver: Result<Arc<TokioResolver>, Arc<str>>,
    offered: Arc<[Transport]>,
}

impl Dns {
    /// Asks the servers of `[sip.dns]`, else those of the system.
    pub fn new(config: &Config) -> Self {
        let resolver = resolver(config).map_err(|error| {
            let why = format!("{error:#}");
            warn!("names cannot be looked up, addresses can be called: {why}");
            Arc::from(why)
        });
        let listens = |transport: &Transport| config.sip.listen.iter().any(|listen| listen.transport == *transport);
        Self {
            resolver: resolver.map(Arc::new),
            offered: Transport::ALL.into_iter().filter(listens).collect(),
        }
    }

    fn resolver(&self) -> Result<&TokioResolver, String> {
        let resolver = self.resolver.as_ref();
        resolver.map(AsRef::as_ref).map_err(|why| why.to_string())
    }

    /// The destinations of a place, in the order in which they are tried.
    ///
    /// # Errors
    /// There are none: a sentence.
    pub async fn locate(&self, place: &Place) -> Result<Vec<Destination>, String> {
        let located = locate(self, place, &self.offered, StdRng::from_os_rng());
        match timeout(PATIENCE, located).await {
            Ok(found) => found.map_err(|why| format!("cannot resolve {}: {why}", place.host)),
            Err(_) => Err(format!(
                "cannot resolve {}: no answer in {} s",
                place.host,
                PATIENCE.as_secs()
            )),
        }
    }

    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, String> {
        // What the configuration names is meant as it is: no search list.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        match self.resolver()?.lookup(absolute, kind).await {
            Ok(lookup) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(said(name, &error)),
        }
    }
}

/// The resolver that the configuration asks for.
fn resolver(config: &Config) -> anyhow::Result<TokioResolver> {
    let servers = &config.sip.dns;
    let mut builder = match servers.is_empty() {
        true => Resolver::builder_tokio().context("the system's DNS servers cannot be read from /etc/resolv.conf")?,
        false => {
            let server = |server: &std::net::SocketAddr| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                NameServerConfig::new(server.ip(), true, connections.into_iter().map(at).collect())
            };
            let servers = servers.iter().map(server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = QUESTION;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // An answer to a port of the media range might never arrive: what is not media may be dropped there.
    let media = config.media.first_port..=config.media.last_port;
    options.avoid_local_udp_ports = Arc::new(media.collect::<HashSet<u16>>());
    builder.build().context("DNS")
}

fn said(name: &str, error: &NetError) -> String {
    format!("{name}: {error}")
}

impl Ask for Dns {
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let record = |data| match data {
            RData::NAPTR(NAPTR {
                order,
                preference,
                flags,
                services,
                replacement,
                ..
            }) => Some(Naptr {
                order,
                preference,
                flags: text(&flags),
                service: text(&services),
                replacement: replacement.to_ascii(),
            }),
            _ => None,
        };
        let records = self.records(name, RecordType::NAPTR).await?;
        Ok(records.into_iter().filter_map(record).collect())
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
        let record = |data| match data {
            RData::SRV(SRV {
                priority,
                weight,
                port,
                target,
                ..
            }) => Some(Srv {
                priority,
                weight,
                port,
                target: target.to_ascii(),
            }),
            _ => None,
        };
        let records = self.records(name, RecordType::SRV).await?;
        Ok(records.into_iter().filter_map(record).collect())
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let absolute = format!("{}.", name.trim_end_matches('.'));
        match self.resolver()?.lookup_ip(absolute).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(said(name, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_resolver_addresses_are_found_and_names_say_why_not() {
        let dns = Dns {
            resolver: Err("there is no /etc/resolv.conf".into()),
            offered: [Transport::Udp].into(),
        };
        let place = |host: &str| Place {
            host: host.to_owned(),
            port: None,
            transport: None,
        };
        let found = dns.locate(&place("192.0.2.1")).await.unwrap();
        assert_eq!(found[0].to_string(), "udp:192.0.2.1:5060");
        assert_eq!(
            dns.locate(&place("carrier.example")).await.unwrap_err(),
            "cannot resolve carrier.example: there is no /etc/resolv.conf"
        );
    }
}
