//! Whether the system gives ports of the media range to other programs.
//!
//! A program that asks for any port, as a resolver does for each question, gets one of a range of the kernel's. If that
//! range overlaps `media.ports`, and the XDP program drops what is not media there, its answers never arrive.

use tracing::warn;
use voxlane_dataplane::media_plane::Unallocated;

use crate::config::model::{Media, Xdp};

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Warns if other programs may be cut off.
pub(super) fn check(media: &Media) {
    if media.xdp == Xdp::Off || media.unallocated == Unallocated::Pass {
        return;
    }
    let Ok(range) = std::fs::read_to_string(RANGE) else {
        return;
    };
    let reserved = std::fs::read_to_string(RESERVED).unwrap_or_default();
    let Media {
        first_port, last_port, ..
    } = *media;
    if let Some((first, last)) = shared(&range, &reserved, first_port, last_port) {
        let all = all_reserved(&reserved, first_port, last_port);
        warn!(
            "the system gives ports {first}-{last} to any program, and media.ports {first_port}-{last_port} has them, too: \
             what programs receive there is dropped; run \"sysctl -w net.ipv4.ip_local_reserved_ports={all}\", \
             choose other media.ports, or write [media] unallocated = \"pass\""
        );
    }
}

/// What to reserve so that these ports are, too: the list is written whole.
fn all_reserved(reserved: &str, first: u16, last: u16) -> String {
    match reserved.trim() {
        "" => format!("{first}-{last}"),
        reserved => format!("{reserved},{first}-{last}"),
    }
}

/// The first and last port that the system may give away, of those from `first` to `last`. `range` and `reserved` as the
/// system writes them: `32768\t60999` and `8080,9000-9100`.
fn shared(range: &str, reserved: &str, first: u16, last: u16) -> Option<(u16, u16)> {
    let mut bounds = range.split_whitespace().filter_map(|bound| bound.parse::<u16>().ok());
    let (from, to) = (bounds.next()?, bounds.next()?);
    let reserved: Vec<(u16, u16)> = reserved
        .trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect();
    let free = |port: &u16| !reserved.iter().any(|(first, last)| (first..=last).contains(&port));
    let mut both = (first.max(from)..=last.min(to)).filter(free);
    let lowest = both.next()?;
    Some((lowest, both.next_back().unwrap_or(lowest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_already_stays_so() {
        assert_eq!(all_reserved("\n", 10_000, 20_000), "10000-20000");
        assert_eq!(
            all_reserved("80,9000-9100\n", 10_000, 20_000),
            "80,9000-9100,10000-20000"
        );
    }

    #[test]
    fn ports_that_both_have() {
        for (range, reserved, media, expected) in [
            ("32768\t60999\n", "\n", (10_000, 20_000), None),
            ("32768\t60999\n", "\n", (30_000, 39_999), Some((32_768, 39_999))),
            ("1024 65535", "", (10_000, 20_000), Some((10_000, 20_000))),
            ("1024 65535", "10000-20000", (10_000, 20_000), None),
            (
                "1024 65535",
                "80,10000-19999\n",
                (10_000, 20_000),
                Some((20_000, 20_000)),
            ),
            (
                "1024 65535",
                "10000-10999,20000",
                (10_000, 20_000),
                Some((11_000, 19_999)),
            ),
            ("", "", (10_000, 20_000), None),
        ] {
            assert_eq!(
                shared(range, reserved, media.0, media.1),
                expected,
                "{range} {reserved}"
            );
        }
    }
}
