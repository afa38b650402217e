//! Who listens to which call, and where what they hear comes from: whoever carries the call, which may change meanwhile.

use crossbeam_channel::bounded;

use super::endpoints::{Carrier, ResidentId};
use super::{Plane, State};
use crate::media_plane::{EndpointId, MOST_TRACKS, MediaError, Session, TapId, TapSpec, TrackName};
use crate::worker::{Packets, Source, Way, channel};

/// Frames of a track that wait for the thread of taps: twenty seconds of them.
const WAITING: usize = 1024;

/// The taps there are, or were: one whose listener has gone stays in the book until it is ended, or its call.
#[derive(Default)]
pub(super) struct Listened {
    taps: Vec<Tap>,
    begun: u64,
}

struct Tap {
    id: TapId,
    /// Where it is listened to: its inbound track arrives here.
    endpoint: EndpointId,
    tracks: Vec<TrackName>,
}

impl Listened {
    /// Tracks that are listened to at an endpoint.
    fn tracks_at(&self, endpoint: EndpointId) -> usize {
        let taps = self.taps.iter().filter(|tap| tap.endpoint == endpoint);
        taps.map(|tap| tap.tracks.len()).sum()
    }
}

impl Plane {
    /// Lets somebody listen.
    pub(super) fn listen(&self, state: &mut State, endpoint: EndpointId, spec: TapSpec) -> Result<TapId, MediaError> {
        state.endpoints.get(endpoint)?;
        if state.listened.tracks_at(endpoint) + spec.tracks.len() > MOST_TRACKS {
            return Err(MediaError::TooManyTracks);
        }
        state.listened.begun += 1;
        let id = TapId(state.listened.begun);
        state.listened.taps.push(Tap {
            id,
            endpoint,
            tracks: spec.tracks.clone(),
        });
        self.taps.begin(id, endpoint, spec);
        self.follow(state, &[endpoint]);
        Ok(id)
    }

    /// Ends a tap, if it is there.
    pub(super) fn end_listening(&self, state: &mut State, tap: TapId) {
        let ended = state.listened.taps.extract_if(.., |one| one.id == tap);
        ended.for_each(|tap| self.taps.end(tap.id));
    }

    /// Ends all taps at an endpoint.
    pub(super) fn end_listening_at(&self, state: &mut State, endpoint: EndpointId) {
        let ended = state.listened.taps.extract_if(.., |tap| tap.endpoint == endpoint);
        ended.for_each(|tap| self.taps.end(tap.id));
    }

    /// Others carry these endpoints now, or something else was agreed: taps at them, or at those they are relayed to, go on with
    /// that.
    pub(super) fn follow(&self, state: &State, changed: &[EndpointId]) {
        for tap in &state.listened.taps {
            let peer = state.endpoints.get(tap.endpoint).ok().and_then(|row| row.peer);
            if changed.contains(&tap.endpoint) || peer.is_some_and(|peer| changed.contains(&peer)) {
                for name in &tap.tracks {
                    self.taps
                        .set_source(tap.id, *name, self.source(state, tap.endpoint, *name));
                }
            }
        }
    }

    /// Where a track of an endpoint comes from; `None` while nobody carries it.
    fn source(&self, state: &State, endpoint: EndpointId, name: TrackName) -> Option<Source> {
        let row = state.endpoints.get(endpoint).ok()?;
        match (&row.carrier, name) {
            (Carrier::Nobody(_), _) => None,
            (Carrier::Agent { resident, .. }, TrackName::Inbound) => {
                self.copied(state, *resident, 0, Way::Arrives, endpoint)
            }
            (Carrier::Agent { resident, .. }, TrackName::Outbound) => {
                self.copied(state, *resident, 0, Way::Leaves, endpoint)
            }
            (Carrier::Pair { resident, side, .. }, TrackName::Inbound) => {
                self.copied(state, *resident, *side, Way::Arrives, endpoint)
            }
            (
                Carrier::Pair {
                    resident, side, peer, ..
                },
                TrackName::Outbound,
            ) => self.copied(state, *resident, 1 - side, Way::Arrives, *peer),
            (Carrier::Kernel, TrackName::Inbound) => self.mirrored(state, endpoint),
            (Carrier::Kernel, TrackName::Outbound) => self.mirrored(state, row.peer?),
        }
    }

    /// Copies of the packets of a worker's leg, which is this endpoint's.
    fn copied(
        &self,
        state: &State,
        resident: ResidentId,
        leg: usize,
        way: Way,
        endpoint: EndpointId,
    ) -> Option<Source> {
        let session = session(state, endpoint)?;
        let (into, packets) = channel();
        self.workers.copy(state.endpoints.handle(resident)?, leg, way, into);
        Some(Source {
            packets: Packets::Copied(packets),
            session,
            way,
        })
    }

    /// Copies of what arrives at an endpoint in the kernel lane.
    fn mirrored(&self, state: &State, endpoint: EndpointId) -> Option<Source> {
        let session = session(state, endpoint)?;
        let local = state.endpoints.get(endpoint).ok()?.local;
        let (into, frames) = bounded(WAITING);
        if let Err(error) = self.kernel.mirror(local, into) {
            tracing::warn!(%local, error, "whoever listens to a call does not hear one side");
            return None;
        }
        Some(Source {
            packets: Packets::Mirrored(frames),
            session,
            way: Way::Arrives,
        })
    }
}

/// What was agreed for an endpoint, if it is known.
fn session(state: &State, endpoint: EndpointId) -> Option<Session> {
    state.endpoints.get(endpoint).ok()?.session.clone()
}
