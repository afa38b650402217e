//! Where SIP of a host is (RFC 3263 section 4), as far as it can be said without asking DNS: what there is to ask, and in
//! which order answers are used.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::path::Transport;

/// A host that requests are to be sent to, as a URI or the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Name or address (IPv6 without brackets).
    pub host: String,
    /// Port, if one is named: then DNS is asked for addresses only.
    pub port: Option<u16>,
    /// Transport, if one is named: then DNS is not asked which.
    pub transport: Option<Transport>,
}

/// Where a request is sent, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// Address.
    pub remote: SocketAddr,
    /// By what.
    pub transport: Transport,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.remote)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (_, None) => f.write_str(&self.host),
        }
    }
}

impl Place {
    /// Its destination, where that takes no DNS: the host is an address.
    pub fn literal(&self) -> Option<Destination> {
        let ip: IpAddr = self.host.parse().ok()?;
        let transport = self.transport.unwrap_or(Transport::Udp);
        Some(Destination {
            remote: SocketAddr::new(ip, self.port.unwrap_or(transport.default_port())),
            transport,
        })
    }

    /// The name under which SRV records for a transport are (RFC 3263 section 4.1).
    pub fn service(&self, transport: Transport) -> String {
        let service = match transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
        };
        format!("{service}.{}", self.host)
    }
}

/// A NAPTR record, as far as SIP needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lowest first.
    pub order: u16,
    /// Lowest first, among those of one order.
    pub preference: u16,
    /// `s` where the replacement has SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T`.
    pub service: String,
    /// The name that replaces the host's.
    pub replacement: String,
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lowest first.
    pub priority: u16,
    /// Share of the calls, among those of one priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host.
    pub target: String,
}

/// The services among these records that are SIP's and that we have, in their order (RFC 3263 section 4.1): transport, and
/// the name of its SRV records.
pub fn services(mut records: Vec<Naptr>, offered: &[Transport]) -> Vec<(Transport, String)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let service = |record: Naptr| {
        let transport = match record.service.to_ascii_uppercase().as_str() {
            "SIP+D2U" => Transport::Udp,
            "SIP+D2T" => Transport::Tcp,
            "SIPS+D2T" => Transport::Tls,
            _ => return None,
        };
        let usable = record.flags.eq_ignore_ascii_case("s") && offered.contains(&transport);
        usable.then_some((transport, record.replacement))
    };
    records.into_iter().filter_map(service).collect()
}

/// What is chosen among by priority and weight.
pub trait Weighed {
    /// Lowest first.
    fn priority(&self) -> u16;
    /// Share, among those of one priority.
    fn weight(&self) -> u16;
}

impl Weighed for Srv {
    fn priority(&self) -> u16 {
        self.priority
    }

    fn weight(&self) -> u16 {
        self.weight
    }
}

/// Puts records in the order in which they are tried: by priority, and within one by chance, as the weights say (RFC 2782).
pub fn in_order<T: Weighed>(mut records: Vec<T>, random: &mut impl Rng) -> Vec<T> {
    // Those of weight 0 come first, so that they have a small chance.
    records.sort_by_key(|record| (record.priority(), record.weight() != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(Weighed::priority) {
        let same = records.iter().take_while(|record| record.priority() == priority);
        let total: u32 = same.map(|record| u32::from(record.weight())).sum();
        let drawn = random.random_range(0..=total);
        let mut sum = 0;
        let reached = |record: &T| {
            sum += u32::from(record.weight());
            sum >= drawn
        };
        // The sum reaches the total at the last of this priority.
        let chosen = records.iter().position(reached).unwrap_or(0);
        ordered.push(records.remove(chosen));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight,
            port: 5060,
            target: target.into(),
        }
    }

    #[test]
    fn weights_are_shares_within_a_priority() {
        let records = vec![
            srv(20, 1, "last"),
            srv(10, 0, "seldom"),
            srv(10, 30, "a"),
            srv(10, 70, "b"),
        ];
        let mut random = StdRng::seed_from_u64(1);
        let mut first: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..10_000 {
            let ordered = in_order(records.clone(), &mut random);
            assert_eq!(ordered.len(), 4);
            assert_eq!(ordered[3].target, "last");
            *first.entry(ordered[0].target.clone()).or_default() += 1;
        }
        // 30, 70 and 1 of 101.
        assert!((2_700..3_300).contains(&first["a"]), "{first:?}");
        assert!((6_600..7_300).contains(&first["b"]), "{first:?}");
        assert!((40..200).contains(&first["seldom"]), "{first:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_order() {
        let records: Vec<Srv> = (0..20).map(|n| srv(n % 3, n, &n.to_string())).collect();
        let order = |seed| in_order(records.clone(), &mut StdRng::seed_from_u64(seed));
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn services_that_we_have_in_their_order() {
        let naptr = |order, preference, flags: &str, service: &str| Naptr {
            order,
            preference,
            flags: flags.into(),
            service: service.into(),
            replacement: format!("{service}.example"),
        };
        let records = vec![
            naptr(50, 50, "s", "SIP+D2U"),
            naptr(20, 50, "s", "SIPS+D2T"),
            naptr(20, 10, "S", "sip+d2t"),
            naptr(10, 10, "u", "E2U+sip"),
            naptr(10, 10, "a", "SIP+D2U"),
            naptr(10, 10, "s", "SIP+D2S"),
        ];
        let expected = [
            (Transport::Tcp, "sip+d2t.example".to_owned()),
            (Transport::Udp, "SIP+D2U.example".to_owned()),
        ];
        assert_eq!(services(records, &[Transport::Udp, Transport::Tcp]), expected);
    }

    #[test]
    fn places_and_destinations_as_text() {
        let place = |host: &str, port, transport| Place {
            host: host.into(),
            port,
            transport,
        };
        for (place, text, literal) in [
            (place("192.0.2.1", None, None), "192.0.2.1", Some("udp:192.0.2.1:5060")),
            (
                place("2001:db8::1", Some(5070), Some(Transport::Tls)),
                "[2001:db8::1]:5070",
                Some("tls:[2001:db8::1]:5070"),
            ),
            (
                place("192.0.2.1", None, Some(Transport::Tls)),
                "192.0.2.1",
                Some("tls:192.0.2.1:5061"),
            ),
            (place("a.example", Some(5070), None), "a.example:5070", None),
        ] {
            assert_eq!(place.to_string(), text);
            let literal = literal.map(str::to_owned);
            assert_eq!(place.literal().map(|found| found.to_string()), literal, "{text}");
        }
    }
}
