//! `[media]`, and what a trunk says of the media of its legs.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use voxlane_dataplane::media_plane::{LatchMode, Pacing, Unallocated};
use voxlane_dataplane::plane::{IoChoice, Policing};
use voxlane_dataplane::reception::Limits;
use voxlane_dataplane::worker::FIRST_WORDS;

use super::dscp::{self, Dscp};
use super::model::{KeysInClear, Media, OwnLimits, QualityLimits, RtcpMux, SrtpPolicy, Transcode, Xdp};
use super::reader::Section;
use super::sections::{distinct_list, or};
use super::{cores, duration, value};
use crate::sdp::PTIMES;

/// Where BPF programs and maps are pinned, on about every host.
const BPF_FS: &str = "/sys/fs/bpf";

/// As rtpengine has it.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(60);

const QUALITY_PERIOD: Duration = Duration::from_secs(10);

/// Longest that packets may be made to wait: what the jitter buffer has room for.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Most that is kept of what is said to an agent before it is ready: half a megabyte a call.
const MOST_FIRST_WORDS: Duration = Duration::from_secs(60);

/// `[media]` as written.
pub(super) struct WrittenMedia {
    pub(super) media: Media,
    /// Line of `ports`, if that is written.
    pub(super) ports_line: Option<usize>,
}

/// Reads the section; where the kernel lane is pinned goes by the node's name.
pub(super) fn read(mut section: Section<'_>, node: &str) -> WrittenMedia {
    let addresses = distinct_list(&mut section, "addresses", address).unwrap_or_default();
    let ports = section.text("ports", ports);
    let ports_line = ports.as_ref().map(|ports| ports.line);
    let (first_port, last_port) = or(ports, || (10_000, 20_000));
    let media = Media {
        addresses,
        first_port,
        last_port,
        ptime: ptime(&mut section),
        workers: workers(&mut section),
        io: or(section.text("io", io), IoChoice::default),
        xdp: or(section.text("xdp", xdp), || Xdp::Auto),
        interfaces: distinct_list(&mut section, "interfaces", interface).unwrap_or_default(),
        unallocated: or(section.text("unallocated", unallocated), Unallocated::default),
        dscp: or(section.text_or_number("dscp", dscp::parse), || Dscp::EF),
        police: or(section.text("police", police), Policing::default),
        pin: or(section.text("pin", pin), || Some(default_pin(node))),
        jitter: jitter(&mut section),
        first_words: or(section.text("first_words", first_words), || FIRST_WORDS),
        timeout: or(section.text("media_timeout", unless_off), || Some(MEDIA_TIMEOUT)),
        limits: limits(&mut section).over(QualityLimits::default()),
        quality_period: or(section.text("quality_period", value::timeout), || QUALITY_PERIOD),
    };
    section.finish();
    WrittenMedia { media, ports_line }
}

fn ptime(section: &mut Section<'_>) -> u8 {
    const DEFAULT: u8 = 20;
    let Some(written) = section.integer("ptime", 1..=1000) else {
        return DEFAULT;
    };
    match PTIMES.into_iter().find(|&ptime| u64::from(ptime) == written.value) {
        Some(ptime) => ptime,
        None => {
            let message = format!("{} ms is not a packet time; write 10, 20, 30 or 40", written.value);
            section.report(written.line, "ptime", message);
            DEFAULT
        }
    }
}

/// How long packets may wait before an agent hears them.
fn jitter(section: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    let max = section.text("jitter_max", wait);
    let line = max.as_ref().map(|max| max.line);
    let max = or(max, || default.max);
    let min = section.text("jitter_min", wait);
    let line = line.or(min.as_ref().map(|min| min.line));
    let min = or(min, || default.min);
    if let Some(line) = line.filter(|_| min > max) {
        let message = format!("{max:?} is less than media.jitter_min, {min:?}; write more, or less there");
        section.report(line, "jitter_max", message);
    }
    Limits { min, max }
}

fn wait(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        wait if wait > LONGEST_WAIT => Err(format!(
            "{text:?} is more than packets can be kept; write at most \"500ms\""
        )),
        wait => Ok(wait),
    }
}

fn first_words(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        kept if kept > MOST_FIRST_WORDS => Err(format!("{text:?} is more than is kept; write at most \"60s\"")),
        kept => Ok(kept),
    }
}

/// The limits that a section sets.
pub(super) fn limits(section: &mut Section<'_>) -> OwnLimits {
    OwnLimits {
        latency: section.text("latency_limit", unless_off).map(|limit| limit.value),
        jitter: section.text("jitter_limit", unless_off).map(|limit| limit.value),
        loss: section.text("loss_limit", loss).map(|limit| limit.value),
    }
}

/// A duration, or `off`
fn unless_off(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => value::timeout(text)
            .map(Some)
            .map_err(|error| format!("{error}, or \"off\"")),
    }
}

/// `1%`, or `off`
fn loss(text: &str) -> Result<Option<f64>, String> {
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.trim_end().parse::<f64>().ok());
    match percent {
        _ if text == "off" => Ok(None),
        Some(percent) if percent > 0.0 && percent < 100.0 => Ok(Some(percent / 100.0)),
        _ => Err(format!("{text:?} is not a share of packets; write \"1%\" or \"off\"")),
    }
}

fn workers(section: &mut Section<'_>) -> Option<Vec<usize>> {
    let parse = |text: &str| match text {
        "auto" => Ok(None),
        _ => cores::parse(text).map(Some),
    };
    let workers = section.text("workers", parse)?;
    let there_are = cores::available();
    for core in workers.value.iter().flatten() {
        if !there_are.is_empty() && !there_are.contains(core) {
            let there_are = there_are.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            let message = format!("core {core} is not there for this process; there is {there_are}");
            section.report(workers.line, "workers", message);
        }
    }
    workers.value
}

/// An address that RTP can be received on.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    match text.parse() {
        Ok(ip @ IpAddr::V4(_) | ip @ IpAddr::V6(_)) if ip.is_unspecified() || ip.is_multicast() => Err(format!(
            "{text} cannot be written into SDP; write an address of this machine"
        )),
        Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Err(format!(
            "{text} is known on one link only; write a global or unique local address of this machine"
        )),
        Ok(IpAddr::V6(ip)) if let Some(v4) = ip.to_ipv4_mapped() => {
            Err(format!("{text} is an IPv4 address in disguise; write \"{v4}\""))
        }
        Ok(ip) => Ok(ip),
        Err(_) => Err(format!(
            "{text:?} is not an IP address; write one of this machine, such as \"203.0.113.50\""
        )),
    }
}

/// `FIRST-LAST`: a range of RTP ports. RTP takes even ports, RTCP the odd one above (RFC 3550 section 11).
fn ports(text: &str) -> Result<(u16, u16), String> {
    let bounds = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?)));
    match bounds {
        None => Err(format!(
            "{text:?} is not a range of ports; write \"FIRST-LAST\", such as \"10000-20000\""
        )),
        Some((first, last)) if first >= last => Err(format!(
            "{text:?} holds no pair of ports; write the lower port first, such as \"10000-20000\""
        )),
        Some((first, _)) if first < 1024 => Err(format!(
            "{text:?} reaches below 1024, where system services live; write \"10000-20000\""
        )),
        Some((first, last)) if first % 2 == 1 => Err(format!(
            "{text:?} begins with an odd port, and RTP takes even ones; write \"{}-{last}\"",
            first - 1
        )),
        Some(range) => Ok(range),
    }
}

/// `auto`, `af_xdp` or `sockets`
fn io(text: &str) -> Result<IoChoice, String> {
    match text {
        "auto" => Ok(IoChoice::Auto),
        "af_xdp" => Ok(IoChoice::AfXdp),
        "sockets" => Ok(IoChoice::Sockets),
        _ => Err(format!(
            "{text:?} is not a way to send and receive; write \"auto\", \"af_xdp\" or \"sockets\""
        )),
    }
}

/// `auto`, `native`, `generic` or `off`
fn xdp(text: &str) -> Result<Xdp, String> {
    match text {
        "auto" => Ok(Xdp::Auto),
        "native" => Ok(Xdp::Native),
        "generic" => Ok(Xdp::Generic),
        "off" => Ok(Xdp::Off),
        _ => Err(format!(
            "{text:?} is not a mode; write \"auto\", \"native\", \"generic\" or \"off\""
        )),
    }
}

/// The name of a network interface (Linux: at most 15 bytes).
fn interface(text: &str) -> Result<String, String> {
    let valid = !text.is_empty() && text.len() <= 15 && !text.contains(|c: char| c == '/' || c.is_whitespace());
    if valid {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of an interface; see \"ip link\""))
    }
}

/// `drop` or `pass`
fn unallocated(text: &str) -> Result<Unallocated, String> {
    match text {
        "drop" => Ok(Unallocated::Drop),
        "pass" => Ok(Unallocated::Pass),
        _ => Err(format!("{text:?} is not a choice; write \"drop\" or \"pass\"")),
    }
}

/// `on` or `off`
fn police(text: &str) -> Result<Policing, String> {
    match text {
        "on" => Ok(Policing::On),
        "off" => Ok(Policing::Off),
        _ => Err(format!("{text:?} is not a choice; write \"on\" or \"off\"")),
    }
}

/// A directory of its own in a BPF file system, or `off`.
pub(crate) fn pin(text: &str) -> Result<Option<PathBuf>, String> {
    if text == "off" {
        return Ok(None);
    }
    let example = format!("write \"{BPF_FS}/voxlane/NAME\" or \"off\"");
    let path = Path::new(value::line(text)?.as_str()).to_owned();
    let dotted = |part: Component<'_>| part.as_os_str().as_encoded_bytes().contains(&b'.');
    match &path {
        path if !path.is_absolute() => Err(format!("{text:?} is not a path from the root; {example}")),
        path if path.components().any(dotted) => Err(format!(
            "{text:?} has a dot, which the BPF file system keeps for itself; {example}"
        )),
        path if path == Path::new(BPF_FS) || path.parent().is_none() => {
            Err(format!("{text:?} is shared with other programs; {example}"))
        }
        _ => Ok(Some(path)),
    }
}

/// Named after the node, so that two on one host do not take each other's. The file system has no names with dots.
fn default_pin(node: &str) -> PathBuf {
    Path::new(BPF_FS).join("voxlane").join(node.replace('.', "-"))
}

/// `strict`, `nat` or `open`
pub(super) fn latch(text: &str) -> Result<LatchMode, String> {
    match text {
        "strict" => Ok(LatchMode::Strict),
        "nat" => Ok(LatchMode::Nat),
        "open" => Ok(LatchMode::Open),
        _ => Err(format!("{text:?} is not a mode; write \"strict\", \"nat\" or \"open\"")),
    }
}

/// `off`, `auto` or `always`
pub(super) fn pacing(text: &str) -> Result<Pacing, String> {
    match text {
        "off" => Ok(Pacing::Off),
        "auto" => Ok(Pacing::Auto),
        "always" => Ok(Pacing::Always),
        _ => Err(format!("{text:?} is not a mode; write \"off\", \"auto\" or \"always\"")),
    }
}

/// `off`, `optional` or `required`
pub(super) fn srtp(text: &str) -> Result<SrtpPolicy, String> {
    match text {
        "off" => Ok(SrtpPolicy::Off),
        "optional" => Ok(SrtpPolicy::Optional),
        "required" => Ok(SrtpPolicy::Required),
        _ => Err(format!(
            "{text:?} is not a policy; write \"off\", \"optional\" or \"required\""
        )),
    }
}

/// `refuse` or `allow`
pub(super) fn keys_in_clear(text: &str) -> Result<KeysInClear, String> {
    match text {
        "refuse" => Ok(KeysInClear::Refuse),
        "allow" => Ok(KeysInClear::Allow),
        _ => Err(format!("{text:?} is neither \"refuse\" nor \"allow\"")),
    }
}

/// `off`, `accept` or `offer`
pub(super) fn rtcp_mux(text: &str) -> Result<RtcpMux, String> {
    match text {
        "off" => Ok(RtcpMux::Off),
        "accept" => Ok(RtcpMux::Accept),
        "offer" => Ok(RtcpMux::Offer),
        _ => Err(format!(
            "{text:?} is not a mode; write \"off\", \"accept\" or \"offer\""
        )),
    }
}

/// `auto` or `off`
pub(super) fn transcode(text: &str) -> Result<Transcode, String> {
    match text {
        "auto" => Ok(Transcode::Auto),
        "off" => Ok(Transcode::Off),
        _ => Err(format!("{text:?} is not a mode; write \"auto\" or \"off\"")),
    }
}
