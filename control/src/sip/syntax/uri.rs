//! `sip:`, `sips:` and `tel:` addresses (RFC 3261 section 19.1, RFC 3966).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::SyntaxError;
use crate::sip::api::{Address, UserPhone};
use crate::sip::path::Transport;

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other; such a URI is kept as text only.
    Other,
}

/// A URI with the parts the core needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    text: String,
    /// Scheme.
    pub scheme: Scheme,
    /// User part as written, without password; the number of a `tel:` URI.
    pub user: String,
    /// Host, IPv6 without brackets; empty for `tel:` and unknown schemes.
    pub host: String,
    /// Port, if written.
    pub port: Option<u16>,
    /// `transport`, where it is one we know.
    pub transport: Option<Transport>,
    loose_router: bool,
}

impl Uri {
    /// Reads a URI without angle brackets.
    ///
    /// # Errors
    /// Any [`SyntaxError`] that names a part of an address.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text
            .bytes()
            .any(|b| b <= b' ' || b == 0x7f || matches!(b, b'<' | b'>' | b'"'))
        {
            return Err(SyntaxError::Character);
        }
        let (scheme, rest) = text.split_once(':').ok_or(SyntaxError::NoScheme)?;
        let valid = scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if scheme.is_empty() || !valid {
            return Err(SyntaxError::NoScheme);
        }
        let empty = Self {
            text: text.to_owned(),
            scheme: Scheme::Other,
            user: String::new(),
            host: String::new(),
            port: None,
            transport: None,
            loose_router: false,
        };
        match scheme {
            s if s.eq_ignore_ascii_case("sip") => empty.with_sip(Scheme::Sip, rest),
            s if s.eq_ignore_ascii_case("sips") => empty.with_sip(Scheme::Sips, rest),
            s if s.eq_ignore_ascii_case("tel") => {
                let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
                if number.is_empty() {
                    return Err(SyntaxError::Number);
                }
                Ok(Self {
                    scheme: Scheme::Tel,
                    user: global(number, params),
                    ..empty
                })
            }
            _ if rest.is_empty() => Err(SyntaxError::Host),
            _ => Ok(empty),
        }
    }

    /// Reads a Request-URI, which some carriers write without its scheme, just as they were given it (interoperability
    /// requirement I10): `sip.tenant.example`, `+15550100@sip.tenant.example:5061`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_request(text: &str) -> Result<Self, SyntaxError> {
        let is_port = |rest: &str| {
            let port = rest.split([';', '?']).next().unwrap_or_default();
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        };
        // What stands before a colon is a scheme, unless a user or a host with a port does.
        let bare = match text.split_once(':') {
            None => true,
            Some((before, rest)) => before.contains('@') || before.contains('.') && is_port(rest),
        };
        match bare {
            true => Self::parse(&format!("sip:{text}")),
            false => Self::parse(text),
        }
    }

    fn with_sip(self, scheme: Scheme, rest: &str) -> Result<Self, SyntaxError> {
        // The user part may hold ';' and '?', so '@' is looked for first.
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) if !user.is_empty() => (user, rest),
            Some(_) => return Err(SyntaxError::Character),
            None => ("", rest),
        };
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let (host_port, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = parse_host_port(host_port)?;
        let mut params = params.split(';').map(|p| p.split_once('=').unwrap_or((p, "")));
        let loose_router = params.clone().any(|(name, _)| name.eq_ignore_ascii_case("lr"));
        let transport = params.find(|(name, _)| name.eq_ignore_ascii_case("transport"));
        let transport = transport.and_then(|(_, value)| Transport::of_name(value));
        let user = user.split_once(':').map_or(user, |(user, _)| user).to_owned();
        Ok(Self {
            scheme,
            user,
            host,
            port,
            transport,
            loose_router,
            ..self
        })
    }

    /// The URI as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it carries `lr` (RFC 3261 section 16.12).
    pub fn is_loose_router(&self) -> bool {
        self.loose_router
    }

    /// The socket address it names, if its host is an address literal.
    pub fn literal(&self, default_port: u16) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port.unwrap_or(default_port)))
    }

    /// What the call layer sees of it.
    pub fn address(&self, display: String) -> Address {
        let user = match self.scheme {
            Scheme::Tel => self
                .user
                .chars()
                .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
                .collect(),
            Scheme::Sip | Scheme::Sips | Scheme::Other => unescape(&self.user),
        };
        Address {
            display,
            user,
            host: self.host.clone(),
            port: self.port,
        }
    }
}

/// Reads `host`, `host:port` or `[v6]:port`; white space around the colon is allowed, as in a Via (RFC 3261 section 20.42).
///
/// # Errors
/// [`SyntaxError::Host`], [`SyntaxError::Port`].
pub fn parse_host_port(text: &str) -> Result<(String, Option<u16>), SyntaxError> {
    let text = text.trim();
    let (host, rest) = if let Some(v6) = text.strip_prefix('[') {
        let (v6, rest) = v6.split_once(']').ok_or(SyntaxError::Host)?;
        let address = ipv6(v6).ok_or(SyntaxError::Host)?;
        (address.to_string(), rest)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        let host = host.trim_end();
        if host.is_empty()
            || !host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        {
            return Err(SyntaxError::Host);
        }
        (host.to_owned(), rest)
    };
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok((host, None));
    }
    let digits = rest.strip_prefix(':').ok_or(SyntaxError::Host)?.trim();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SyntaxError::Port);
    }
    match digits.parse() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        Ok(_) | Err(_) => Err(SyntaxError::Port),
    }
}

/// An IPv6 address, also as the grammar of RFC 3261 has it where it ends in an IPv4 address: with three colons (RFC 5118
/// section 4.10).
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let mended = || {
        let (before, after) = text.split_once(":::")?;
        after.contains('.').then(|| format!("{before}::{after}").parse().ok())?
    };
    text.parse().ok().or_else(mended)
}

/// Reads the address of a call to place: `sip:user@host:port` or `tel:+number`, angle brackets and parameters allowed.
///
/// # Errors
/// [`SyntaxError::UnsupportedScheme`] for `sips:` and anything else; otherwise the part that is wrong.
pub fn parse_uri(text: &str) -> Result<Address, SyntaxError> {
    let text = text.trim();
    let bare = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    let uri = Uri::parse(bare)?;
    match uri.scheme {
        Scheme::Sip | Scheme::Tel => Ok(uri.address(String::new())),
        Scheme::Sips | Scheme::Other => Err(SyntaxError::UnsupportedScheme),
    }
}

/// The URI of an address: `tel:` where it has no host.
pub fn address_uri(address: &Address) -> String {
    let user = escape_user(&address.user);
    if address.host.is_empty() {
        return format!("tel:{user}");
    }
    let at = if user.is_empty() { "" } else { "@" };
    let host = if address.host.contains(':') {
        format!("[{}]", address.host)
    } else {
        address.host.clone()
    };
    match address.port {
        Some(port) => format!("sip:{user}{at}{host}:{port}"),
        None => format!("sip:{user}{at}{host}"),
    }
}

/// The URI of an address whose number is written so.
pub fn phone_uri(address: &Address, user_phone: UserPhone) -> String {
    let is_number = !address.host.is_empty() && address.user.starts_with('+');
    match user_phone {
        UserPhone::On if is_number => address_uri(address) + ";user=phone",
        UserPhone::On | UserPhone::Off => address_uri(address),
    }
}

/// An address as From or To carry it, without parameters of the header.
pub fn phone_name_addr(address: &Address, user_phone: UserPhone) -> String {
    let uri = phone_uri(address, user_phone);
    if address.display.is_empty() {
        return format!("<{uri}>");
    }
    let mut quoted = String::with_capacity(address.display.len() + 2);
    for c in address.display.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    format!("\"{quoted}\" <{uri}>")
}

/// A number of a `tel:` URI; one that is good only within another (`;phone-context=+1`) is put behind it (RFC 3966 section
/// 5.1.5).
fn global(number: &str, params: &str) -> String {
    let mut params = params.split(';').filter_map(|param| param.split_once('='));
    let context = params.find(|(name, value)| name.eq_ignore_ascii_case("phone-context") && value.starts_with('+'));
    match context {
        Some((_, context)) if !number.starts_with('+') => format!("{context}{number}"),
        Some(_) | None => number.to_owned(),
    }
}

fn unescape(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hex digits fit a byte.
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn escape_user(user: &str) -> String {
    let mut text = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(user: &str, host: &str, port: Option<u16>) -> Address {
        Address {
            display: String::new(),
            user: user.into(),
            host: host.into(),
            port,
        }
    }

    #[test]
    fn addresses_of_calls() {
        for (text, expected) in [
            ("sip:+1555@192.0.2.1:5070", address("+1555", "192.0.2.1", Some(5070))),
            (
                "SIP:alice:secret@example.com;transport=udp?a=b",
                address("alice", "example.com", None),
            ),
            ("<sip:example.com>", address("", "example.com", None)),
            ("sip:x@[2001:db8::1]:5060", address("x", "2001:db8::1", Some(5060))),
            ("tel:+1-(555)-123.4;phone-context=x", address("+15551234", "", None)),
            ("tel:555-1234;phone-context=+1", address("+15551234", "", None)),
            ("tel:5551234;phone-context=x.example", address("5551234", "", None)),
            ("sip:%75se%72@example.com", address("user", "example.com", None)),
            (
                "sip:user;par=u%40example.net@example.com",
                address("user;par=u@example.net", "example.com", None),
            ),
            (
                "sip:null-%00-null@example.com",
                address("null-\0-null", "example.com", None),
            ),
        ] {
            assert_eq!(parse_uri(text).as_ref(), Ok(&expected), "{text}");
            let again = parse_uri(&address_uri(&expected)).unwrap();
            assert_eq!(again, expected, "{text}");
        }
    }

    #[test]
    fn a_request_uri_may_lack_its_scheme() {
        for (text, expected) in [
            ("sip:+1555@a.example", address("+1555", "a.example", None)),
            ("sip:a.example", address("", "a.example", None)),
            ("sip.a.example", address("", "sip.a.example", None)),
            ("sip.a.example:5061", address("", "sip.a.example", Some(5061))),
            (
                "sip.a.example:5061;transport=tls",
                address("", "sip.a.example", Some(5061)),
            ),
            ("+1555@sip.a.example", address("+1555", "sip.a.example", None)),
            (
                "+1555@sip.a.example:5061",
                address("+1555", "sip.a.example", Some(5061)),
            ),
            ("tel:1555", address("1555", "", None)),
        ] {
            let uri = Uri::parse_request(text).unwrap();
            assert_eq!(uri.address(String::new()), expected, "{text}");
        }
        // RFC 4475 sections 3.3.2 and 3.3.3: schemes that are not ours.
        for text in [
            "nobodyKnowsThisScheme:totallyopaquecontent",
            "soap.beep://192.0.2.103:3002",
        ] {
            assert_eq!(Uri::parse_request(text).unwrap().scheme, Scheme::Other, "{text}");
        }
    }

    #[test]
    fn what_is_no_address() {
        for (text, error) in [
            ("alice@example.com", SyntaxError::NoScheme),
            ("http://example.com", SyntaxError::UnsupportedScheme),
            ("sips:example.com", SyntaxError::UnsupportedScheme),
            ("sip:a b@example.com", SyntaxError::Character),
            ("sip:@example.com", SyntaxError::Character),
            ("sip:a@", SyntaxError::Host),
            ("sip:a@b@c", SyntaxError::Host),
            ("sip:[::1", SyntaxError::Host),
            ("sip:a@b:0", SyntaxError::Port),
            ("sip:a@b:70000", SyntaxError::Port),
            ("sip:a@b:+5", SyntaxError::Port),
            ("tel:", SyntaxError::Number),
        ] {
            assert_eq!(parse_uri(text), Err(error), "{text}");
        }
    }

    #[test]
    fn numbers_say_that_they_are_where_that_is_wanted() {
        for (user, wanted, expected) in [
            ("+15550100", UserPhone::On, "sip:+15550100@h;user=phone"),
            ("+15550100", UserPhone::Off, "sip:+15550100@h"),
            ("anonymous", UserPhone::On, "sip:anonymous@h"),
        ] {
            let address = address(user, "h", None);
            assert_eq!(phone_uri(&address, wanted), expected);
            assert_eq!(phone_name_addr(&address, wanted), format!("<{expected}>"));
        }
    }

    #[test]
    fn display_names_are_quoted() {
        let shown = Address {
            display: "A \"B\"\r\nX: y".into(),
            ..address("1", "h", None)
        };
        assert_eq!(
            phone_name_addr(&shown, UserPhone::Off),
            "\"A \\\"B\\\"  X: y\" <sip:1@h>"
        );
    }
}
