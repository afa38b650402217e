//! Watches the media of one leg: whether there is any, whether its keys may still be used, and whether the network keeps to
//! its limits.
//!
//! It is told now and then what the leg's flow has come to, in whichever lane that is, and says what has changed. A limit
//! counts as crossed when a whole period was beyond it, and as kept again when a whole period was clearly (a fifth) within
//! it: nobody is told of each packet.

use std::time::Duration;

use voxlane_dataplane::media_plane::FlowReport;
use voxlane_dataplane::srtp::Refusal;

use crate::config::model::QualityLimits;
use crate::time::Time;

/// Packets that a period must have for its loss to mean anything.
const FEWEST: i64 = 50;

/// A limit that is crossed is kept again below this share of it.
const CLEARLY: f64 = 0.8;

/// What has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// One-way latency: half the round trip, and how long packets wait in the jitter buffer, where an agent hears them.
    Latency,
    /// Interarrival jitter.
    Jitter,
    /// Share of packets lost.
    Loss,
}

impl Measure {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Latency, Self::Jitter, Self::Loss];

    /// Its name in logs, metrics and reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Jitter => "jitter",
            Self::Loss => "loss",
        }
    }
}

/// Something to be told of a leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Finding {
    /// Nothing has come for as long as is waited for.
    Quiet(Duration),
    /// Packets are refused because their SRTP key has protected all it may.
    KeyUsedUp,
    /// A period was beyond a limit: what was measured, and the limit; milliseconds, or a share.
    Crossed(Measure, f64, f64),
    /// A period was within it again.
    Kept(Measure, f64, f64),
}

/// Whether media is expected to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The call is up, and nobody has put the leg on hold.
    Media,
    Nothing,
}

/// What is watched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// After how long without a packet a leg is given up.
    pub(super) timeout: Option<Duration>,
    /// What the network is to keep to.
    pub(super) limits: QualityLimits,
    /// How long it is measured.
    pub(super) period: Duration,
}

/// One leg.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    packets: u64,
    quiet_since: Time,
    began: Time,
    packets_then: u64,
    lost_then: i64,
    /// Sum and number of the jitters seen in this period.
    jitters: (f64, u32),
    crossed: [bool; 3],
    /// Packets refused because of a key that is used up, and whether there were any between the last two looks.
    used_up: (u64, bool),
}

impl Watched {
    /// A leg whose flow has come to this so far.
    pub(super) fn new(flow: &FlowReport, now: Time) -> Self {
        Self {
            packets: flow.received.packets,
            quiet_since: now,
            began: now,
            packets_then: flow.received.packets,
            lost_then: flow.received.lost,
            jitters: (0.0, 0),
            crossed: [false; 3],
            used_up: (0, false),
        }
    }

    /// Looks at what the flow has come to.
    pub(super) fn look(&mut self, flow: &FlowReport, expected: Expected, rules: &Rules, now: Time) -> Vec<Finding> {
        let mut findings = Vec::new();
        if flow.received.packets != self.packets || expected == Expected::Nothing {
            self.quiet_since = now;
        }
        self.packets = flow.received.packets;
        let quiet = now.since(self.quiet_since);
        if let Some(timeout) = rules.timeout.filter(|timeout| quiet >= *timeout) {
            findings.push(Finding::Quiet(timeout));
        }
        let of_key = flow
            .drops
            .iter()
            .find(|(reason, _)| reason == Refusal::KeyExhausted.name());
        let of_key = of_key.map_or(0, |(_, count)| *count);
        let is_used_up = of_key > self.used_up.0;
        if is_used_up && !self.used_up.1 {
            findings.push(Finding::KeyUsedUp);
        }
        self.used_up = (of_key, is_used_up);
        self.jitters.0 += flow.received.jitter_ms;
        self.jitters.1 += 1;
        if now.since(self.began) >= rules.period {
            self.judge(flow, &rules.limits, &mut findings);
            self.began = now;
            (self.packets_then, self.lost_then) = (flow.received.packets, flow.received.lost);
            self.jitters = (0.0, 0);
        }
        findings
    }

    fn judge(&mut self, flow: &FlowReport, limits: &QualityLimits, findings: &mut Vec<Finding>) {
        let received = i64::try_from(flow.received.packets.saturating_sub(self.packets_then)).unwrap_or(i64::MAX);
        let lost = flow.received.lost.saturating_sub(self.lost_then).max(0);
        let milliseconds = |limit: Duration| limit.as_secs_f64() * 1000.0;
        for (place, measure) in Measure::ALL.into_iter().enumerate() {
            let (measured, limit) = match measure {
                Measure::Latency => {
                    let buffered = flow.quality.buffer.map_or(0.0, |buffer| buffer.delay_ms);
                    let measured = flow.rtt_ms.map(|rtt| rtt / 2.0 + buffered);
                    (measured, limits.latency.map(milliseconds))
                }
                Measure::Jitter => {
                    let (sum, looks) = self.jitters;
                    let mean = (received > 0).then(|| sum / f64::from(looks.max(1)));
                    (mean, limits.jitter.map(milliseconds))
                }
                Measure::Loss => {
                    let expected = received.saturating_add(lost);
                    let share = (expected >= FEWEST).then(|| lost as f64 / expected as f64);
                    (share, limits.loss)
                }
            };
            let (Some(measured), Some(limit)) = (measured, limit) else {
                continue;
            };
            let crossed = &mut self.crossed[place];
            if !*crossed && measured > limit {
                *crossed = true;
                findings.push(Finding::Crossed(measure, measured, limit));
            } else if *crossed && measured < limit * CLEARLY {
                *crossed = false;
                findings.push(Finding::Kept(measure, measured, limit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use voxlane_dataplane::lane::Lane;
    use voxlane_dataplane::media_plane::{BufferStats, EndpointId, Quality, StreamStats};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn flow(packets: u64, lost: i64, jitter_ms: f64, rtt_ms: Option<f64>) -> FlowReport {
        FlowReport {
            srtp: None,
            endpoint: EndpointId(1),
            local: ([192, 0, 2, 1], 10_000).into(),
            forwarded_to: None,
            lane: Lane::Worker,
            reason: None,
            received: StreamStats {
                packets,
                lost,
                jitter_ms,
                ..StreamStats::default()
            },
            sent_packets: 0,
            userspace_packets: 0,
            drops: Vec::new(),
            digits: 0,
            paced: false,
            rtt_ms,
            quality: Quality::default(),
        }
    }

    fn rules() -> Rules {
        Rules {
            timeout: Some(SECOND * 30),
            limits: QualityLimits::default(),
            period: SECOND * 10,
        }
    }

    /// What is found each second of a leg whose flow is as told.
    fn watch(
        seconds: u32,
        flow: impl Fn(u32) -> FlowReport,
        expected: impl Fn(u32) -> Expected,
    ) -> Vec<(u32, Finding)> {
        let mut watched = Watched::new(&flow(0), Time::ZERO);
        let found = (1..=seconds).flat_map(|second| {
            let now = Time::ZERO + SECOND * second;
            let found = watched.look(&flow(second), expected(second), &rules(), now);
            found
                .into_iter()
                .map(move |finding| (second, finding))
                .collect::<Vec<_>>()
        });
        found.collect()
    }

    #[test]
    fn a_leg_that_falls_silent_is_found_and_one_on_hold_is_not() {
        let talks_for = |until: u32| move |second: u32| flow(u64::from(second.min(until)) * 50, 0, 0.1, None);
        let found = watch(45, talks_for(10), |_| Expected::Media);
        assert_eq!(found[0], (40, Finding::Quiet(SECOND * 30)));
        assert_eq!(watch(100, talks_for(100), |_| Expected::Media), []);
        // Held from the fifth second to the fiftieth: the time counts from there.
        let held = |second| {
            if (5..50).contains(&second) {
                Expected::Nothing
            } else {
                Expected::Media
            }
        };
        let found = watch(90, talks_for(10), held);
        assert_eq!(found[0], (79, Finding::Quiet(SECOND * 30)));
        // A leg that never says anything.
        assert_eq!(watch(30, talks_for(0), |_| Expected::Media).len(), 1);
    }

    #[test]
    fn a_key_that_is_used_up_is_told_of_once_each_time() {
        let refused = [0, 0, 40, 90, 140, 140, 140, 150, 150];
        let flow = |second: u32| {
            let mut flow = flow(u64::from(second) * 50, 0, 0.1, None);
            let count = refused[second as usize];
            flow.drops = vec![
                ("srtp_authentication".to_owned(), u64::from(second)),
                ("srtp_key_exhausted".to_owned(), count),
            ];
            flow
        };
        let found = watch(8, flow, |_| Expected::Media);
        assert_eq!(found, [(2, Finding::KeyUsedUp), (7, Finding::KeyUsedUp)]);
    }

    #[test]
    fn a_limit_is_crossed_once_and_kept_when_it_is_clearly_kept() {
        // 2 % lost for 30 s, then 0.9 %, then nothing.
        let lossy = |second: u32| {
            let lost = match second {
                0..=30 => second,
                31..=60 => 30 + (second - 30) * 45 / 100,
                _ => 43,
            };
            flow(u64::from(second) * 50 - u64::from(lost), lost.into(), 0.1, None)
        };
        let found = watch(100, lossy, |_| Expected::Media);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(matches!(found[0], (10, Finding::Crossed(Measure::Loss, share, _)) if (share - 0.02).abs() < 1e-9));
        assert!(matches!(found[1], (70, Finding::Kept(Measure::Loss, ..))), "{found:?}");
    }

    #[test]
    fn jitter_and_latency_have_limits_too() {
        let found = watch(
            20,
            |second| flow(u64::from(second) * 50, 0, 31.0, Some(310.0)),
            |_| Expected::Media,
        );
        assert_eq!(
            found,
            [
                (10, Finding::Crossed(Measure::Latency, 155.0, 150.0)),
                (10, Finding::Crossed(Measure::Jitter, 31.0, 30.0))
            ]
        );
        let heard = |delay_ms| {
            let crossed = move |second: u32| {
                let mut flow = flow(u64::from(second) * 50, 0, 0.0, Some(260.0));
                flow.quality.buffer = Some(BufferStats {
                    delay_ms,
                    ..BufferStats::default()
                });
                flow
            };
            watch(20, crossed, |_| Expected::Media)
        };
        assert_eq!(heard(19.0), []);
        assert_eq!(heard(21.0), [(10, Finding::Crossed(Measure::Latency, 151.0, 150.0))]);
        let off = QualityLimits {
            latency: None,
            jitter: None,
            loss: None,
        };
        let mut watched = Watched::new(&flow(0, 0, 0.0, None), Time::ZERO);
        let rules = Rules { limits: off, ..rules() };
        assert_eq!(
            watched.look(
                &flow(900, 100, 99.0, Some(999.0)),
                Expected::Media,
                &rules,
                Time::ZERO + SECOND * 11
            ),
            []
        );
    }
}
