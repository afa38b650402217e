//! Where calls to a trunk are sent: `proxy`, or `[[trunk.gateway]]` for several.

use super::model::{Gateway, Place, Redirects, Sip, Transport, Trunk, UserPhone};
use super::reader::{Located, Reader, Section};
use super::{MOST_GATEWAYS, value};

/// Reads the gateways of a trunk, and the line on which each one's transport is said.
pub(super) fn read(section: &mut Section<'_>) -> (Vec<Gateway>, Vec<usize>) {
    let line = section.line;
    let transport = section.text("transport", value::transport);
    let transport_line = transport.as_ref().map_or(line, |transport| transport.line);
    let transport = transport.map(|transport| transport.value);
    let proxy = section.text("proxy", value::host_port);
    let several = section.sections("gateway");
    match &proxy {
        Some(proxy) if !several.is_empty() => section.report(
            proxy.line,
            "proxy",
            "is written beside [[trunk.gateway]]; make it one of those, or keep it alone",
        ),
        Some(_) | None => {}
    }
    if several.len() > MOST_GATEWAYS {
        section.report(
            line,
            "gateway",
            format!("stands here {} times; there may be {MOST_GATEWAYS}", several.len()),
        );
    }
    let proxy = proxy.map(|proxy| {
        let gateway = Gateway {
            place: place(proxy.value, transport),
            priority: 0,
            weight: 1,
        };
        (gateway, transport_line)
    });
    let several = several.into_iter().take(MOST_GATEWAYS);
    let several = several.filter_map(|section| gateway(section, transport, transport_line));
    proxy.into_iter().chain(several).unzip()
}

fn gateway(mut section: Section<'_>, of_trunk: Option<Transport>, of_trunk_line: usize) -> Option<(Gateway, usize)> {
    let address = section.required("address", "\"HOST\" or \"HOST:PORT\"", value::host_port);
    let transport = section.text("transport", value::transport);
    let line = transport.as_ref().map_or(of_trunk_line, |transport| transport.line);
    let transport = transport.map(|transport| transport.value).or(of_trunk);
    let number = |written: Option<Located<u64>>, default| {
        let written = written.and_then(|number| u16::try_from(number.value).ok());
        written.unwrap_or(default)
    };
    let priority = number(section.integer("priority", 0..=65_535), 0);
    let weight = number(section.integer("weight", 0..=65_535), 1);
    section.finish();
    let gateway = Gateway {
        place: place(address?.value, transport),
        priority,
        weight,
    };
    Some((gateway, line))
}

fn place((host, port): (String, Option<u16>), transport: Option<Transport>) -> Place {
    Place { host, port, transport }
}

/// Whether calls follow a 3xx.
pub(super) fn redirects(text: &str) -> Result<Redirects, String> {
    match text {
        "off" => Ok(Redirects::Off),
        "trunk" => Ok(Redirects::Trunk),
        "any" => Ok(Redirects::Any),
        _ => Err(format!("{text:?} is unknown; write \"off\", \"trunk\" or \"any\"")),
    }
}

/// How numbers are written in URIs.
pub(super) fn user_phone(text: &str) -> Result<UserPhone, String> {
    match text {
        "off" => Ok(UserPhone::Off),
        "on" => Ok(UserPhone::On),
        _ => Err(format!("{text:?} is unknown; write \"off\" or \"on\"")),
    }
}

/// Reports transports that are not listened on: what is answered to, or called back, must be there (RFC 3261 section
/// 18.1.1).
pub(super) fn check(reader: &Reader<'_>, trunk: &Trunk, lines: &[usize], sip: &Sip) {
    let mut said = Vec::new();
    for (gateway, line) in trunk.gateways.iter().zip(lines) {
        // Without a word of it DNS chooses one of those that are listened on, and an address has UDP.
        let needed = match (gateway.place.transport, gateway.place.literal(), gateway.place.port) {
            (Some(transport), _, _) => transport,
            (None, Some(_), _) | (None, None, Some(_)) => Transport::Udp,
            (None, None, None) => continue,
        };
        let listened_on = sip.listen.iter().any(|listen| listen.transport == needed);
        if !listened_on && !said.contains(&(line, needed)) {
            said.push((line, needed));
            let message = format!("{needed} is not listened on; add \"{needed}:IP:PORT\" to [sip] listen");
            reader.report(*line, "trunk.transport", message);
        }
    }
}
