//! Asks DNS where SIP of a host is (RFC 3263 section 4). [`dns`](super::dns) is who is asked; [`crate::sip::locate`] knows
//! the order of what comes back.

use std::net::{IpAddr, SocketAddr};

use rand::Rng;

use crate::sip::Transport;
use crate::sip::locate::{Destination, Naptr, Place, Srv, in_order, services};

/// Most destinations of one place; what else there is is not tried.
const MOST: usize = 16;

/// Who is asked. A name that does not exist has no records; an error is that nobody could tell.
pub trait Ask: Sync {
    /// NAPTR records.
    fn naptr(&self, name: &str) -> impl Future<Output = Result<Vec<Naptr>, String>> + Send;

    /// SRV records.
    fn srv(&self, name: &str) -> impl Future<Output = Result<Vec<Srv>, String>> + Send;

    /// A and AAAA records.
    fn addresses(&self, name: &str) -> impl Future<Output = Result<Vec<IpAddr>, String>> + Send;
}

/// The destinations of a place, in the order in which they are tried. `offered` are the transports that we have.
///
/// # Errors
/// It has none, or DNS cannot tell: a sentence.
pub async fn locate(
    dns: &impl Ask,
    place: &Place,
    offered: &[Transport],
    mut random: impl Rng + Send,
) -> Result<Vec<Destination>, String> {
    if let Some(destination) = place.literal() {
        return Ok(vec![destination]);
    }
    // A port leaves nothing to ask but addresses (RFC 3263 section 4.2).
    if place.port.is_none() {
        for (transport, name) in candidates(dns, place, offered).await? {
            let records = dns.srv(&name).await?;
            // "." alone: decidedly not there (RFC 2782).
            if let [only] = records.as_slice()
                && only.target.trim_end_matches('.').is_empty()
            {
                continue;
            }
            if !records.is_empty() {
                return of_services(dns, transport, in_order(records, &mut random), &name).await;
            }
        }
    }
    let transport = place.transport.unwrap_or(Transport::Udp);
    let port = place.port.unwrap_or(transport.default_port());
    let addresses = dns.addresses(&place.host).await?;
    match addresses.is_empty() {
        true => Err(format!("{} has no address in DNS", place.host)),
        false => Ok(addresses
            .into_iter()
            .take(MOST)
            .map(|ip| at(ip, port, transport))
            .collect()),
    }
}

/// Transports, and the names of their SRV records: the one that is asked for, else those of NAPTR, else each that we have.
async fn candidates(dns: &impl Ask, place: &Place, offered: &[Transport]) -> Result<Vec<(Transport, String)>, String> {
    if let Some(transport) = place.transport {
        return Ok(vec![(transport, place.service(transport))]);
    }
    let named = dns.naptr(&place.host).await?;
    let known = services(named, offered);
    if known.is_empty() {
        return Ok(offered.iter().map(|one| (*one, place.service(*one))).collect());
    }
    Ok(known)
}

/// The addresses of these services. One whose host is not found is left out, unless none is.
async fn of_services(
    dns: &impl Ask,
    transport: Transport,
    records: Vec<Srv>,
    name: &str,
) -> Result<Vec<Destination>, String> {
    let mut destinations: Vec<Destination> = Vec::new();
    let mut failed = None;
    for Srv { port, target, .. } in records.into_iter().take(MOST) {
        match dns.addresses(&target).await {
            Ok(addresses) => destinations.extend(addresses.into_iter().map(|ip| at(ip, port, transport))),
            Err(error) => failed = Some(error),
        }
    }
    destinations.truncate(MOST);
    match destinations.is_empty() {
        true => Err(failed.unwrap_or_else(|| format!("no host of {name} has an address in DNS"))),
        false => Ok(destinations),
    }
}

fn at(ip: IpAddr, port: u16, transport: Transport) -> Destination {
    Destination {
        remote: SocketAddr::new(ip, port),
        transport,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// A zone, and what was asked of it.
    #[derive(Default)]
    struct Zone {
        naptr: BTreeMap<&'static str, Vec<Naptr>>,
        srv: BTreeMap<&'static str, Vec<Srv>>,
        addresses: BTreeMap<&'static str, Vec<&'static str>>,
        asked: Mutex<Vec<String>>,
    }

    impl Zone {
        fn asked(&self, kind: &str, name: &str) -> Result<(), String> {
            self.asked.lock().unwrap().push(format!("{kind} {name}"));
            match name.contains("broken") {
                true => Err(format!("{name}: no answer")),
                false => Ok(()),
            }
        }
    }

    impl Ask for Zone {
        async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, String> {
            self.asked("NAPTR", name)?;
            Ok(self.naptr.get(name).cloned().unwrap_or_default())
        }

        async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
            self.asked("SRV", name)?;
            Ok(self.srv.get(name).cloned().unwrap_or_default())
        }

        async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
            self.asked("A", name)?;
            let found = self.addresses.get(name).into_iter().flatten();
            Ok(found.map(|ip| ip.parse().unwrap()).collect())
        }
    }

    fn naptr(order: u16, service: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference: 0,
            flags: "s".into(),
            service: service.into(),
            replacement: replacement.into(),
        }
    }

    fn srv(priority: u16, port: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight: 0,
            port,
            target: target.into(),
        }
    }

    /// What is found, as text, and what was asked for it.
    fn found(
        zone: &Zone,
        host: &str,
        port: Option<u16>,
        transport: Option<Transport>,
    ) -> (Result<String, String>, String) {
        let place = Place {
            host: host.into(),
            port,
            transport,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let offered = [Transport::Udp, Transport::Tcp];
        let found = runtime.block_on(locate(zone, &place, &offered, StdRng::seed_from_u64(1)));
        let asked = zone.asked.lock().unwrap().drain(..).collect::<Vec<_>>().join(", ");
        let text = |found: Vec<Destination>| {
            let texts = found.iter().map(ToString::to_string);
            texts.collect::<Vec<_>>().join(" ")
        };
        (found.map(text), asked)
    }

    fn zone() -> Zone {
        Zone {
            naptr: BTreeMap::from([(
                "c.example",
                vec![
                    naptr(10, "SIPS+D2T", "tls.c.example"),
                    naptr(20, "SIP+D2T", "tcp.c.example"),
                    naptr(30, "SIP+D2U", "udp.c.example"),
                ],
            )]),
            srv: BTreeMap::from([
                (
                    "tcp.c.example",
                    vec![srv(20, 5072, "b.c.example"), srv(10, 5071, "a.c.example")],
                ),
                ("_sip._tcp.d.example", vec![srv(0, 5080, "a.c.example")]),
                ("_sip._udp.off.example", vec![srv(0, 0, ".")]),
                (
                    "_sip._udp.half.example",
                    vec![srv(0, 1, "broken.example"), srv(1, 2, "a.c.example")],
                ),
                ("_sip._udp.gone.example", vec![srv(0, 1, "gone.example")]),
            ]),
            addresses: BTreeMap::from([
                ("a.c.example", vec!["192.0.2.1", "2001:db8::1"]),
                ("b.c.example", vec!["192.0.2.2"]),
                ("c.example", vec!["192.0.2.3"]),
                ("off.example", vec!["192.0.2.4"]),
                ("plain.example", vec!["192.0.2.5"]),
            ]),
            asked: Mutex::default(),
        }
    }

    #[test]
    fn an_address_asks_nobody_and_a_port_for_addresses_only() {
        let zone = zone();
        assert_eq!(
            found(&zone, "192.0.2.9", None, None),
            (Ok("udp:192.0.2.9:5060".into()), String::new())
        );
        let (found, asked) = found(&zone, "c.example", Some(5090), Some(Transport::Tcp));
        assert_eq!(
            (found, asked.as_str()),
            (Ok("tcp:192.0.2.3:5090".into()), "A c.example")
        );
    }

    #[test]
    fn naptr_chooses_the_first_transport_that_we_have() {
        let (found, asked) = found(&zone(), "c.example", None, None);
        let expected = "tcp:192.0.2.1:5071 tcp:[2001:db8::1]:5071 tcp:192.0.2.2:5072";
        assert_eq!(found, Ok(expected.into()));
        assert_eq!(
            asked,
            "NAPTR c.example, SRV tcp.c.example, A a.c.example, A b.c.example"
        );
    }

    #[test]
    fn without_naptr_each_transport_is_asked_for_and_at_last_addresses() {
        let zone = zone();
        let (first, asked) = found(&zone, "d.example", None, None);
        assert_eq!(first, Ok("tcp:192.0.2.1:5080 tcp:[2001:db8::1]:5080".into()));
        assert_eq!(
            asked,
            "NAPTR d.example, SRV _sip._udp.d.example, SRV _sip._tcp.d.example, A a.c.example"
        );
        let (last, _) = found(&zone, "plain.example", None, None);
        assert_eq!(last, Ok("udp:192.0.2.5:5060".into()));
        let (chosen, asked) = found(&zone, "plain.example", None, Some(Transport::Tls));
        assert_eq!(chosen, Ok("tls:192.0.2.5:5061".into()));
        assert_eq!(asked, "SRV _sips._tcp.plain.example, A plain.example");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let zone = zone();
        let of = |host: &str| found(&zone, host, None, Some(Transport::Udp)).0;
        assert_eq!(
            of("nowhere.example"),
            Err("nowhere.example has no address in DNS".into())
        );
        assert_eq!(of("broken.example"), Err("_sip._udp.broken.example: no answer".into()));
        assert_eq!(
            of("gone.example"),
            Err("no host of _sip._udp.gone.example has an address in DNS".into())
        );
        // One of two is enough.
        assert_eq!(of("half.example"), Ok("udp:192.0.2.1:2 udp:[2001:db8::1]:2".into()));
    }
}
