//! One parser for each kind of text value. Errors are sentences: what is wrong, then what to write.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use voxlane_dataplane::codec::Codec;

use super::duration;
use super::model::{ClientCertificates, Large, Listen, Transport};

/// Any text that may stand in a header or SDP line: not empty, no control characters.
pub(super) fn line(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err(format!("{text:?} has a line break or control character")),
        _ => Ok(text.to_owned()),
    }
}

/// A word without blanks.
pub(super) fn word(text: &str) -> Result<String, String> {
    match line(text)? {
        text if text.contains(char::is_whitespace) => Err(format!("{text:?} has a blank; write one word")),
        text => Ok(text),
    }
}

/// A name that appears in logs, metrics and other sections.
pub(super) fn name(text: &str) -> Result<String, String> {
    let valid = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    match text {
        "" => Err("is empty".to_owned()),
        _ if text.chars().all(valid) && !text.chars().all(|character| character == '.') => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is not a name; write letters, digits, \"-\", \"_\" and \".\""
        )),
    }
}

/// A directory.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    line(text).map(PathBuf::from)
}

/// `IP:PORT`
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address; write \"IP:PORT\""))
}

/// `IP` or `IP:PORT` of a DNS server.
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is not an address; write \"IP\" or \"IP:PORT\""))
}

/// `udp:IP:PORT`, `tcp:IP:PORT` or `tls:IP:PORT`
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    let (name, address) = text.split_once(':').unwrap_or((text, ""));
    if let "ws" | "wss" | "sctp" = name {
        return Err(format!(
            "SIP over {name} is not available; write \"udp:IP:PORT\", \"tcp:IP:PORT\" or \"tls:IP:PORT\""
        ));
    }
    match (transport(name), address.parse()) {
        (Ok(transport), Ok(address)) => Ok(Listen { transport, address }),
        (Ok(transport), Err(_)) => Err(format!("{text:?} is not an address; write \"{transport}:IP:PORT\"")),
        (Err(_), _) => Err(format!("{text:?} is not an address; write \"udp:IP:PORT\"")),
    }
}

/// A transport of SIP.
pub(super) fn transport(text: &str) -> Result<Transport, String> {
    match text {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        "tls" => Ok(Transport::Tls),
        _ => Err(format!(
            "{text:?} is not a transport; write \"udp\", \"tcp\" or \"tls\""
        )),
    }
}

/// What becomes of requests that are too large for UDP.
pub(super) fn large(text: &str) -> Result<Large, String> {
    match text {
        "tcp" => Ok(Large::Tcp),
        "udp" => Ok(Large::Udp),
        _ => Err(format!("{text:?} is neither \"tcp\" nor \"udp\"")),
    }
}

/// Whether those who connect have to show a certificate.
pub(super) fn client_certificates(text: &str) -> Result<ClientCertificates, String> {
    match text {
        "off" => Ok(ClientCertificates::Off),
        "optional" => Ok(ClientCertificates::Optional),
        "required" => Ok(ClientCertificates::Required),
        _ => Err(format!(
            "{text:?} is unknown; write \"off\", \"optional\" or \"required\""
        )),
    }
}

/// `on` or `off`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is unknown; write \"on\" or \"off\"")),
    }
}

/// How often connections are kept alive, or `off`.
pub(super) fn keepalive(text: &str) -> Result<Option<std::time::Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => timeout(text).map(Some).map_err(|error| format!("{error}, or \"off\"")),
    }
}

/// A network, or an address for a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.into());
    }
    match text.parse::<IpNet>() {
        Ok(network) if network == network.trunc() => Ok(network),
        Ok(network) => Err(format!(
            "{text:?} has bits beyond its prefix; write \"{}\"",
            network.trunc()
        )),
        Err(_) => Err(format!(
            "{text:?} is not a network; write \"ADDRESS/PREFIX\", such as \"198.51.100.0/24\""
        )),
    }
}

/// A codec by its SDP name.
pub(super) fn codec(text: &str) -> Result<Codec, String> {
    let same = |codec: &Codec| codec.name().eq_ignore_ascii_case(text);
    Codec::ALL.into_iter().find(same).ok_or_else(|| {
        let names: Vec<String> = Codec::ALL.iter().map(|codec| format!("\"{codec}\"")).collect();
        format!("{text:?} is not a codec; there is {}", names.join(", "))
    })
}

/// A duration that is not zero.
pub(super) fn timeout(text: &str) -> Result<std::time::Duration, String> {
    match duration::parse(text)? {
        std::time::Duration::ZERO => Err(format!("{text:?} leaves no time; {}", duration::EXPECTED)),
        duration => Ok(duration),
    }
}

/// A number in E.164 with '+'.
pub(super) fn number(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let valid = (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if valid {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a number in E.164; write \"+\", country code and number, 7 to 15 digits"
        ))
    }
}

/// A number, or `FIRST..LAST`.
pub(super) fn numbers(text: &str) -> Result<(String, String), String> {
    let Some((first, last)) = text.split_once("..") else {
        return number(text).map(|number| (number.clone(), number));
    };
    let (first, last) = (number(first)?, number(last)?);
    if first.len() != last.len() {
        return Err(format!(
            "{text:?} goes from one length to another; write a range for each length"
        ));
    }
    if first > last {
        return Err(format!("{text:?} is empty; write \"{last}..{first}\""));
    }
    Ok((first, last))
}

/// A host name or IP address.
pub(super) fn host(text: &str) -> Result<String, String> {
    match split_host_port(text) {
        Some((host, None)) => Ok(host),
        _ => Err(format!(
            "{text:?} is not a host name; write one such as \"sip.carrier.example\""
        )),
    }
}

/// `HOST` or `HOST:PORT`.
pub(super) fn host_port(text: &str) -> Result<(String, Option<u16>), String> {
    match split_host_port(text) {
        Some(parts) => Ok(parts),
        None => Err(format!(
            "{text:?} is not a host; write \"HOST\" or \"HOST:PORT\" (IPv6 as \"[ADDRESS]:PORT\")"
        )),
    }
}

/// Splits `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`. `None` if it is none of them.
pub(crate) fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(bracketed) => {
            let (host, rest) = bracketed?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':')?)
                },
            )
        }
        None => {
            let (host, port) = text
                .split_once(':')
                .map_or((text, None), |(host, port)| (host, Some(port)));
            if !is_host_name(host) {
                return None;
            }
            (host, port)
        }
    };
    let port = match port {
        None => None,
        Some(port) => Some(port.parse().ok().filter(|&port: &u16| port != 0)?),
    };
    Some((host.to_owned(), port))
}

/// RFC 1123 section 2.1, and the underscore that some use. An IPv4 address passes; four numbers that are none do not.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match numeric {
        true => text.parse::<std::net::Ipv4Addr>().is_ok(),
        false => name.len() <= 253 && name.split('.').all(label),
    }
}

/// The name of an HTTP header (RFC 9110 section 5.6.2).
pub(crate) fn header_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("sip.example", Some(("sip.example", None))),
            ("192.0.2.1:5070", Some(("192.0.2.1", Some(5070)))),
            ("[2001:db8::1]", Some(("2001:db8::1", None))),
            ("[2001:db8::1]:5061", Some(("2001:db8::1", Some(5061)))),
            ("2001:db8::1", None),
            ("[2001:db8::1", None),
            ("[x]:1", None),
            ("[::1]5060", None),
            ("300.1.1.1", None),
            ("sip:host", None),
            ("a..b", None),
            ("-a", None),
            ("a:0", None),
            ("a:65536", None),
            ("", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(split_host_port(text), expected, "{text}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(
            network("198.51.100.7").map(|network| network.to_string()).as_deref(),
            Ok("198.51.100.7/32")
        );
        assert_eq!(
            network("::/0").map(|network| network.to_string()).as_deref(),
            Ok("::/0")
        );
    }
}
