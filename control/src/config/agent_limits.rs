//! How much an agent may take up: `queue_limit`, `max_message`, `write_limit`, `max_malformed`, `ping_interval`.

use std::ops::RangeInclusive;
use std::time::Duration;

use voxlane_dataplane::media_plane::AgentLimits;

use super::reader::Section;
use super::value;

/// µ-law bytes a millisecond.
const BYTES_PER_MS: u128 = 8;

/// The longest queue: an hour.
const LONGEST_QUEUE: Duration = Duration::from_secs(3600);

/// How long messages, and what waits to be written, may be allowed to become, bytes.
const SIZES: RangeInclusive<u64> = 4096..=64 << 20;

/// Reads the keys of an agent that is taken for dead after `silence_timeout`.
pub(super) fn read(section: &mut Section<'_>, silence_timeout: Duration) -> AgentLimits {
    let default = AgentLimits::default();
    let queue = section.text("queue_limit", queue).map(|queue| queue.value);
    let bytes = |section: &mut Section<'_>, key, default| {
        let written = section.integer(key, SIZES).and_then(|size| size.value.try_into().ok());
        written.unwrap_or(default)
    };
    let message = bytes(section, "max_message", default.message);
    let write = bytes(section, "write_limit", default.write);
    let malformed = section.integer("max_malformed", 0..=1_000_000_000);
    let ping_interval = section.text("ping_interval", value::timeout);
    if let Some(interval) = ping_interval.as_ref().filter(|one| one.value >= silence_timeout) {
        let message = format!(
            "is no shorter than silence_timeout, {silence_timeout:?}: an agent would be dead before it is asked"
        );
        section.report(interval.line, "ping_interval", message);
    }
    AgentLimits {
        queue: queue.unwrap_or(default.queue),
        message,
        write,
        malformed: malformed.map_or(default.malformed, |most| most.value),
        ping_interval: ping_interval.map_or(silence_timeout / 2, |interval| interval.value),
    }
}

/// Audio by how long it takes.
fn queue(text: &str) -> Result<usize, String> {
    let length = value::timeout(text)?;
    let bytes = usize::try_from(length.as_millis() * BYTES_PER_MS).ok();
    bytes
        .filter(|_| length <= LONGEST_QUEUE)
        .ok_or_else(|| format!("{text:?} is too long; write at most \"1h\""))
}
