//! What operators tell the gateway to do with a call: [`ops::Operate`](crate::ops::Operate) over the core.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use rustls::ClientConfig;
use tracing::info;
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::MirroredFrame;

use super::core::Core;
use super::inspect::Inspector;
use super::live::Live;
use super::lock;
use crate::call::{CallId, Side};
use crate::campaign::{
    CallRequest, CallResult, CampaignId, CampaignReport, CampaignRequest, Change, PlaceError, Requester, Updated,
};
use crate::ops::dials::Dials;
use crate::ops::report::{LaneReport, TapOrder, TapReport, TransferOrder, TransferReport};
use crate::ops::{Operate, OperateError};

/// Mirrored frames that wait for a reader; more are lost, and counted.
const MIRRORED: usize = 4096;

impl Operate for Inspector {
    fn prefer(&self, call: &str, lane: Lane) -> Result<LaneReport, OperateError> {
        lock(&self.core).prefer(call, lane)
    }

    fn mirror(&self, call: &str) -> Result<Receiver<MirroredFrame>, OperateError> {
        lock(&self.core).mirror(call)
    }

    fn transfer(&self, call: &str, order: &TransferOrder) -> Result<TransferReport, OperateError> {
        self.act(|core, now| core.transfer(now, call, order))
    }

    fn cancel_transfer(&self, call: &str) -> Result<TransferReport, OperateError> {
        self.act(|core, now| core.cancel_transfer(now, call))
    }

    fn transfer_of(&self, call: &str) -> Result<TransferReport, OperateError> {
        lock(&self.core).transfer_of(call)
    }

    fn tap(
        &self,
        call: &str,
        order: &TapOrder,
        addresses: Vec<SocketAddr>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<TapReport, OperateError> {
        self.act(|core, _| core.tap(call, order, addresses, tls))
    }

    fn end_taps(&self, call: &str) -> Result<TapReport, OperateError> {
        self.act(|core, _| core.end_taps(call))
    }

    fn dials(&self) -> &dyn Dials {
        self
    }
}

impl Dials for Inspector {
    fn place(&self, request: CallRequest) -> Result<CallResult, PlaceError> {
        self.act(|core, _| core.place_call(request))
    }

    fn placed(&self, call: &str) -> Result<CallResult, PlaceError> {
        lock(&self.core).placed(call_id(call)?)
    }

    fn change(&self, call: &str, change: Change, by: Requester) -> Result<Updated, PlaceError> {
        self.act(|core, now| core.change_call(now, call, change, by))
    }

    fn cancel(&self, call: &str) -> Result<CallResult, PlaceError> {
        let call = call_id(call)?;
        self.act(|core, now| core.cancel_call(call, now, Requester::Operator))
    }

    fn start_campaign(&self, request: CampaignRequest) -> Result<CampaignReport, PlaceError> {
        self.act(|core, now| core.start_campaign(request, now))
    }

    fn campaigns(&self) -> Vec<CampaignReport> {
        lock(&self.core).dialler.campaigns()
    }

    fn campaign(&self, campaign: u64) -> Result<CampaignReport, PlaceError> {
        lock(&self.core).dialler.campaign_report(CampaignId(campaign))
    }

    fn campaign_results(&self, campaign: u64) -> Result<Vec<CallResult>, PlaceError> {
        lock(&self.core).dialler.results(CampaignId(campaign))
    }

    fn stop_campaign(&self, campaign: u64) -> Result<CampaignReport, PlaceError> {
        self.act(|core, now| core.stop_campaign(CampaignId(campaign), now))
    }
}

/// A call by its whole name.
fn call_id(name: &str) -> Result<CallId, PlaceError> {
    let unknown = |_| PlaceError::Unknown("call", name.to_owned());
    u64::from_str_radix(name, 16).map(CallId).map_err(unknown)
}

impl Core {
    /// Moves a relayed call to a lane, if it can go there. See [`Operate::prefer`].
    ///
    /// # Errors
    /// Why there is nothing to move.
    pub fn prefer(&self, call: &str, lane: Lane) -> Result<LaneReport, OperateError> {
        let live = self.named(call)?;
        let call = live.id().to_string();
        if live.call.agent().is_some() {
            return Err(OperateError::NotRelayed(call));
        }
        let [a, b] = [Side::A, Side::B].map(|side| live.leg(side).endpoint);
        let (Some(a), Some(_)) = (a, b) else {
            return Err(OperateError::NoMedia(call));
        };
        let now = self.plane.prefer(a.id, lane)?;
        info!(call, asked = ?lane, lane = ?now, "an operator chose the lane");
        Ok(LaneReport {
            call,
            lane: now,
            reason: self.plane.flow(a.id).and_then(|flow| flow.reason),
        })
    }

    /// Begins to mirror what arrives at the legs of a call. See [`Operate::mirror`].
    ///
    /// # Errors
    /// Why there is nothing to mirror.
    pub fn mirror(&self, call: &str) -> Result<Receiver<MirroredFrame>, OperateError> {
        let live = self.named(call)?;
        let call = live.id().to_string();
        let legs = [Side::A, Side::B].map(|side| live.leg(side).endpoint);
        let endpoints: Vec<_> = legs.into_iter().flatten().collect();
        if endpoints.is_empty() {
            return Err(OperateError::NoMedia(call));
        }
        // One channel for both legs: the frames come in the order in which they arrived.
        let (into, mirrored) = bounded(MIRRORED);
        for endpoint in endpoints {
            self.plane.mirror(endpoint.id, into.clone())?;
        }
        info!(call, "an operator captures the call");
        Ok(mirrored)
    }

    /// The call whose id begins so.
    pub(super) fn named(&self, name: &str) -> Result<&Live, OperateError> {
        let name = name.to_ascii_lowercase();
        let begins = |live: &&Live| !name.is_empty() && live.id().to_string().starts_with(&name);
        let found: Vec<&Live> = self.calls.values().map(Box::as_ref).filter(begins).collect();
        match found.as_slice() {
            [] => Err(OperateError::NoCall(name)),
            [one] => Ok(one),
            several => Err(OperateError::Ambiguous(name, several.len())),
        }
    }
}
