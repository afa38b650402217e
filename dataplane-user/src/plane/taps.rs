//! Who listens to which call.

use crossbeam_channel::{Receiver, bounded};

use super::endpoints::Carrier;
use super::{Plane, State};
use crate::lane::Reason;
use crate::media_plane::{EndpointId, MediaError, MirroredFrame, TapId, TapSpec, TrackName};
use crate::worker::NewTrack;

/// Frames of a track that wait for the thread of taps: twenty seconds of them.
const WAITING: usize = 1024;

/// The taps there are, or were: one whose listener has gone stays in the book until its call ends.
#[derive(Default)]
pub(super) struct Listened {
    taps: Vec<Tap>,
    begun: u64,
}

struct Tap {
    id: TapId,
    /// Where it is listened to: its inbound track arrives here.
    endpoint: EndpointId,
    /// Where its outbound track arrives.
    peer: EndpointId,
}

impl Listened {
    /// What arrives at an endpoint and is listened to, by whom.
    pub(super) fn at(&self, endpoint: EndpointId) -> Vec<(TapId, TrackName)> {
        let taps = self.taps.iter();
        taps.filter_map(|tap| match endpoint {
            _ if endpoint == tap.endpoint => Some((tap.id, TrackName::Inbound)),
            _ if endpoint == tap.peer => Some((tap.id, TrackName::Outbound)),
            _ => None,
        })
        .collect()
    }

    /// Forgets who listens at an endpoint; returns them.
    pub(super) fn end(&mut self, endpoint: EndpointId) -> Vec<TapId> {
        let ended = self.taps.extract_if(.., |tap| tap.endpoint == endpoint);
        ended.map(|tap| tap.id).collect()
    }
}

impl Plane {
    /// Lets somebody listen.
    pub(super) fn listen(&self, state: &mut State, endpoint: EndpointId, spec: TapSpec) -> Result<TapId, MediaError> {
        let peer = state.endpoints.get(endpoint)?.peer;
        let peer = peer.ok_or(MediaError::NotRelayed(endpoint))?;
        let track = |name: &TrackName| {
            let from = match name {
                TrackName::Inbound => endpoint,
                TrackName::Outbound => peer,
            };
            Ok(NewTrack {
                name: *name,
                frames: self.copies(state, from)?,
                session: state.endpoints.session(from)?.clone(),
            })
        };
        let tracks = spec.tracks.iter().map(track).collect::<Result<Vec<_>, MediaError>>()?;
        state.listened.begun += 1;
        let id = TapId(state.listened.begun);
        state.listened.taps.push(Tap { id, endpoint, peer });
        self.taps.begin(id, spec, tracks);
        Ok(id)
    }

    /// Copies of what arrives at an endpoint.
    fn copies(&self, state: &State, endpoint: EndpointId) -> Result<Receiver<MirroredFrame>, MediaError> {
        let row = state.endpoints.get(endpoint)?;
        let refused = |reason: String| MediaError::NotInKernel {
            what: "let anybody listen to it",
            reason,
        };
        let (into, frames) = bounded(WAITING);
        match &row.carrier {
            Carrier::Kernel => self.kernel.mirror(row.local, into).map_err(refused)?,
            Carrier::Agent { .. } => return Err(refused(Reason::Agent.to_string())),
            Carrier::Pair { reason, .. } => return Err(refused(reason.to_string())),
            Carrier::Nobody(_) => return Err(refused("it has no media yet".to_owned())),
        }
        Ok(frames)
    }
}
