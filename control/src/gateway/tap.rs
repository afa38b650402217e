//! Calls that are listened to: [`ops::Operate`](crate::ops::Operate)'s taps, over the core.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::info;
use voxlane_dataplane::media_plane::{AgentLimits, CallDirection, TapSpec, TrackName, WebProtocol, WebSpec};

use super::agents;
use super::core::Core;
use super::live::Live;
use crate::call::Side;
use crate::ops::OperateError;
use crate::ops::report::{TapOrder, TapReport, TapTracks};

/// As an agent's, unless configured otherwise.
const CONNECT: Duration = Duration::from_secs(4);
const SILENCE: Duration = Duration::from_secs(4);

impl Core {
    /// Lets somebody listen to a call. See [`Operate::tap`](crate::ops::Operate::tap).
    ///
    /// # Errors
    /// Why nobody can.
    pub fn tap(&self, call: &str, order: &TapOrder, addresses: Vec<SocketAddr>) -> Result<TapReport, OperateError> {
        let live = self.named(call)?;
        let call = live.id().to_string();
        let leg = live
            .leg(Side::A)
            .endpoint
            .ok_or_else(|| OperateError::NoMedia(call.clone()))?;
        let web = self.listener(live, order, addresses);
        let stream = web.stream_sid.clone();
        let tracks = match order.tracks {
            TapTracks::Inbound => vec![TrackName::Inbound],
            TapTracks::Outbound => vec![TrackName::Outbound],
            TapTracks::Both => vec![TrackName::Inbound, TrackName::Outbound],
        };
        self.plane.tap(leg.id, TapSpec { web, tracks })?;
        info!(call, url = order.url, stream, "an operator lets somebody listen");
        Ok(TapReport {
            call,
            stream: Some(stream),
            ended: 0,
        })
    }

    /// Ends that. See [`Operate::end_taps`](crate::ops::Operate::end_taps).
    ///
    /// # Errors
    /// If there is no such call.
    pub fn end_taps(&self, call: &str) -> Result<TapReport, OperateError> {
        let live = self.named(call)?;
        let leg = live.leg(Side::A).endpoint;
        Ok(TapReport {
            call: live.id().to_string(),
            stream: None,
            ended: leg.map_or(0, |leg| self.plane.end_taps(leg.id)),
        })
    }

    fn listener(&self, live: &Live, order: &TapOrder, addresses: Vec<SocketAddr>) -> WebSpec {
        let account = self.config.account(live.route.tenant.as_deref());
        WebSpec {
            protocol: WebProtocol::Twilio,
            url: order.url.clone(),
            addresses,
            headers: agents::signed(&order.url, account.auth_token.as_ref())
                .into_iter()
                .collect(),
            tls: None,
            account_sid: account.sid,
            call_sid: agents::sid("CA", u128::from(live.id().0)),
            stream_sid: agents::sid("MZ", rand::random()),
            from: live.route.caller.clone(),
            to: live.route.number.clone(),
            direction: CallDirection::Inbound,
            opening: Vec::new(),
            parameters: order.parameters.clone().into_iter().collect(),
            connect_timeout: CONNECT,
            silence_timeout: SILENCE,
            limits: AgentLimits::default(),
        }
    }
}
