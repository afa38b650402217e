//! The media of calls is looked at now and then: legs that fall silent, networks that do not keep their limits, keys that are
//! used up.

use tracing::{info, warn};
use voxlane_dataplane::media_plane::{Direction, EndpointId, FlowReport};

use super::core::Core;
use super::watch::{Expected, Finding, Rules, Watched};
use crate::call::{CallId, Event, Phase, Side};
use crate::time::Time;

/// Legs that are looked at without a break.
const WATCHED_AT_ONCE: usize = 16;

/// Most turns in which the media of all calls is looked at.
const MOST_TURNS: u32 = 8;

impl Core {
    /// Looks at the media of some of the calls: to be called twice a second. Each leg has its turn every few seconds, or
    /// more often where `media.media_timeout` is short.
    pub fn watch_media(&mut self, now: Time) {
        self.begin_watch();
        while self.watch_some(now) {}
    }

    /// Begins [`Self::watch_media`], which is then done piece by piece: [`Self::watch_some`].
    pub fn begin_watch(&mut self) {
        if !self.to_watch.is_empty() {
            // There is no time for more.
            return;
        }
        let media = &self.config.media;
        let soonest = media.timeout.unwrap_or(media.quality_period).min(media.quality_period);
        let turns = (soonest.as_millis() / 2000).clamp(1, MOST_TURNS.into()) as u64;
        self.looks += 1;
        let turn = self.looks % turns;
        let endpoints = self.endpoints.iter();
        let due = endpoints.filter(|(endpoint, _)| endpoint.0 % turns == turn);
        self.to_watch.extend(due.map(|(endpoint, _)| *endpoint));
        self.to_watch.sort_unstable();
    }

    /// Looks at the media of a few of those calls, so that no message waits for long meanwhile; whether there are more.
    pub fn watch_some(&mut self, now: Time) -> bool {
        for _ in 0..WATCHED_AT_ONCE {
            let Some(endpoint) = self.to_watch.pop() else { break };
            // It may have been closed since.
            let of = self.endpoints.get(&endpoint).copied();
            if let (Some((call, side)), Some(flow)) = (of, self.plane.flow(endpoint)) {
                self.watch_leg(endpoint, call, side, &flow, now);
            }
        }
        self.drain(now);
        !self.to_watch.is_empty()
    }

    fn watch_leg(&mut self, endpoint: EndpointId, call: CallId, side: Side, flow: &FlowReport, now: Time) {
        let Some(live) = self.calls.get_mut(&call) else { return };
        let media = &self.config.media;
        let trunk = live.trunk_of(side).to_owned();
        let own = self.config.trunks.iter().find(|one| one.name == trunk);
        let rules = Rules {
            timeout: media.timeout,
            limits: own.map_or(media.limits, |own| own.limits.over(media.limits)),
            period: media.quality_period,
        };
        let up = matches!(live.call.phase(), Phase::Answering | Phase::Up);
        let direction = live.call.session(side).map(|session| session.direction);
        let expected = match (up, direction) {
            (true, Some(Direction::SendRecv)) => Expected::Media,
            // On hold, or not there yet.
            _ => Expected::Nothing,
        };
        let watched = self.watched.entry(endpoint).or_insert_with(|| Watched::new(flow, now));
        for finding in watched.look(flow, expected, &rules, now) {
            match finding {
                Finding::Crossed(measure, measured, limit) => {
                    warn!(%call, leg = ?side, trunk, measure = measure.name(), measured, limit,
                        "the network is beyond a limit");
                    self.totals.crossings[measure as usize] += 1;
                    if let Some(live) = self.calls.get_mut(&call) {
                        live.leg_mut(side).mark(measure);
                    }
                }
                Finding::Kept(measure, measured, limit) => {
                    info!(%call, leg = ?side, trunk, measure = measure.name(), measured, limit,
                        "the network keeps to a limit again");
                }
                Finding::KeyUsedUp => {
                    warn!(%call, leg = ?side, trunk,
                        "an SRTP master key is used up: its packets are refused until a re-INVITE brings another");
                }
                Finding::Quiet(quiet) => {
                    warn!(%call, leg = ?side, trunk, quiet_ms = quiet.as_millis(), "no media: the call is ended");
                    self.totals.media_timeouts += 1;
                    return self.feed(now, call, Event::MediaTimeout { side, quiet });
                }
            }
        }
    }
}
