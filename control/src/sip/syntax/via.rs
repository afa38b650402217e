//! Via: the way a response takes (RFC 3261 sections 18.2, 20.42; RFC 3581).

use std::net::SocketAddr;

use super::SyntaxError;
use super::params::Params;
use super::uri::parse_host_port;

/// What every branch of RFC 3261 begins with (section 8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One Via element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    transport: String,
    host: String,
    port: Option<u16>,
    params: Params,
}

impl Via {
    /// Reads `SIP/2.0/UDP host:port;params`; white space is allowed around every separator.
    ///
    /// # Errors
    /// [`SyntaxError::Via`], or what is wrong with host, port or parameters.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut parts = text.splitn(3, '/');
        let (Some(name), Some(version), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SyntaxError::Via);
        };
        if !name.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" {
            return Err(SyntaxError::Via);
        }
        let rest = rest.trim_start();
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(SyntaxError::Via)?;
        if transport.is_empty() || !transport.bytes().all(super::params::is_token) {
            return Err(SyntaxError::Via);
        }
        let (sent_by, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = parse_host_port(sent_by)?;
        Ok(Self {
            transport: transport.to_owned(),
            host,
            port,
            params: Params::parse(params)?,
        })
    }

    /// What can be read of a Via that is damaged, or of another version of SIP: enough to answer by (RFC 4475 sections
    /// 3.1.2.1 and 3.1.2.16). Parameters are kept if all of them are sound.
    pub fn of_damaged(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (name, _, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let (transport, rest) = rest.trim_start().split_once([' ', '\t'])?;
        if !name.trim().eq_ignore_ascii_case("SIP") || !transport.bytes().all(super::params::is_token) {
            return None;
        }
        let (sent_by, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = parse_host_port(sent_by).ok()?;
        Some(Self {
            transport: transport.to_owned(),
            host,
            port,
            params: Params::parse(params).unwrap_or_default(),
        })
    }

    /// The branch, if there is one.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the request is of a user agent of RFC 3261 or later (section 8.1.1.7).
    pub fn is_of_rfc_3261(&self) -> bool {
        self.branch().is_some_and(|branch| branch.starts_with(MAGIC_COOKIE))
    }

    /// Host and port as the sender wrote them, for matching transactions.
    pub fn sent_by(&self) -> (&str, u16) {
        (&self.host, self.port.unwrap_or(5060))
    }

    /// Where a response to a request that came on a connection goes once that is gone (RFC 3261 section 18.2.2): to the
    /// source address, where sent-by says that connections are accepted.
    pub fn reconnect_address(&self, source: SocketAddr, default_port: u16) -> SocketAddr {
        SocketAddr::new(source.ip(), self.port.unwrap_or(default_port))
    }

    /// Notes where the request really came from (RFC 3261 section 18.2.1, RFC 3581 section 4).
    pub fn stamp(&mut self, source: SocketAddr) {
        let asked = self.params.get("rport").is_some();
        if asked {
            self.params.set("rport", source.port().to_string());
        }
        if asked || self.host.parse() != Ok(source.ip()) {
            self.params.set("received", source.ip().to_string());
        }
    }

    /// Where a response goes (RFC 3261 section 18.2.2, RFC 3581 section 4): to the source address, and there to the source
    /// port if the sender asked for it, else to the port in sent-by.
    ///
    /// `maddr` is not followed: it would let anyone have responses sent to a third party.
    pub fn response_address(&self, source: SocketAddr) -> SocketAddr {
        match self.params.get("rport") {
            Some(_) => source,
            None => SocketAddr::new(source.ip(), self.port.unwrap_or(5060)),
        }
    }

    /// Whether the sender sits behind an address translator: what it believes to be its address is not where it sent from,
    /// and it asks to be answered there.
    pub fn is_translated(&self, source: SocketAddr) -> bool {
        let believed = SocketAddr::new(self.host.parse().unwrap_or(source.ip()), self.port.unwrap_or(5060));
        self.params.get("rport").is_some() && believed != source
    }
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SIP/2.0/{} ", self.transport)?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_everywhere() {
        let via = Via::parse("SIP  / 2.0  / TCP     spindle.example.com : 5070  ;  branch  =   z9hG4bK9ikj8").unwrap();
        assert_eq!(
            via.to_string(),
            "SIP/2.0/TCP spindle.example.com:5070;branch=z9hG4bK9ikj8"
        );
        assert_eq!(via.sent_by(), ("spindle.example.com", 5070));
    }

    #[test]
    fn the_way_back() {
        let source: SocketAddr = "198.51.100.7:40000".parse().unwrap();
        for (text, to, stamped) in [
            (
                "SIP/2.0/UDP h;branch=x",
                "198.51.100.7:5060",
                "SIP/2.0/UDP h;branch=x;received=198.51.100.7",
            ),
            (
                "SIP/2.0/UDP 198.51.100.7:5080",
                "198.51.100.7:5080",
                "SIP/2.0/UDP 198.51.100.7:5080",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1;rport;branch=x",
                "198.51.100.7:40000",
                "SIP/2.0/UDP 10.0.0.1;rport=40000;branch=x;received=198.51.100.7",
            ),
            (
                "SIP/2.0/UDP h;maddr=192.0.2.9",
                "198.51.100.7:5060",
                "SIP/2.0/UDP h;maddr=192.0.2.9;received=198.51.100.7",
            ),
        ] {
            let mut via = Via::parse(text).unwrap();
            assert_eq!(via.response_address(source), to.parse().unwrap(), "{text}");
            via.stamp(source);
            assert_eq!(via.to_string(), stamped);
        }
    }

    #[test]
    fn what_is_no_via() {
        for text in [
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ;branch=x",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h;;,;,,",
        ] {
            assert!(Via::parse(text).is_err(), "{text}");
        }
    }
}
