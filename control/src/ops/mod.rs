//! Operations: what the gateway tells of itself, and what it can be told.
//!
//! The gateway implements [`Inspect`] and [`Operate`]; everything shown of it is made of the [`report`]s it returns:
//!
//! - [`server`]: HTTP on the admin socket (`/v1/status`, `/v1/calls`, `/v1/flows`, `/metrics`, and of a call `lane`, `transfer` and
//!   `capture`), metrics also over TCP;
//! - [`metrics`]: the reports as Prometheus text, computed when they are asked for;
//! - [`capture`], [`pcap`]: the packets of a call as a capture file;
//! - [`dials`]: the routes of calls that are placed, and of campaigns;
//! - [`taps`]: the routes of calls that are listened to;
//! - [`client`]: asks the admin socket, for the command line;
//! - [`socket`]: the life of the socket file;
//! - [`words`]: lanes, reasons and modes as labels and as sentences.

pub mod capture;
pub mod client;
pub mod dials;
pub mod metrics;
pub mod pcap;
pub mod report;
pub mod server;
pub mod socket;
pub mod taps;
pub mod timestamp;
pub mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use dials::Dials;
use report::{CallsReport, FlowsReport, LaneReport, StatusReport, TapOrder, TapReport, TransferOrder, TransferReport};
use rustls::ClientConfig;
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{MediaError, MirroredFrame};

/// What the gateway can be asked. Called from the admin server's tasks; must return at once.
pub trait Inspect: Send + Sync {
    /// The gateway as a whole.
    fn status(&self) -> StatusReport;

    /// Calls: those alive and the last 100 that ended.
    fn calls(&self) -> CallsReport;

    /// Every flow of the data plane.
    fn flows(&self) -> FlowsReport;
}

/// What the gateway can be told to do. Calls are named as [`report::CallReport::id`] is, or by its first characters.
/// Called from the admin server's tasks; must return at once.
pub trait Operate: Inspect {
    /// Moves a relayed call to a lane, if it can go there.
    ///
    /// # Errors
    /// Why there is nothing to move.
    fn prefer(&self, call: &str, lane: Lane) -> Result<LaneReport, OperateError>;

    /// Begins to mirror what arrives at the legs of a call, in the order of its arrival. The channel is closed when the call
    /// ends or leaves the kernel lane; dropping it ends the mirroring.
    ///
    /// # Errors
    /// Why there is nothing to mirror.
    fn mirror(&self, call: &str) -> Result<Receiver<MirroredFrame>, OperateError>;

    /// Begins to transfer a call. What becomes of it is asked for with [`Self::transfer_of`].
    ///
    /// # Errors
    /// Why it is not begun.
    fn transfer(&self, call: &str, order: &TransferOrder) -> Result<TransferReport, OperateError>;

    /// Takes a transfer back that is under way: the call goes on as before.
    ///
    /// # Errors
    /// If there is none.
    fn cancel_transfer(&self, call: &str) -> Result<TransferReport, OperateError>;

    /// What has become of the last transfer of a call, which may be over by now.
    ///
    /// # Errors
    /// If there is no such call, or it was never transferred.
    fn transfer_of(&self, call: &str) -> Result<TransferReport, OperateError>;

    /// Lets somebody listen to a call, at these addresses of the order's host, which over TLS is trusted by these settings.
    ///
    /// # Errors
    /// Why nobody can.
    fn tap(
        &self,
        call: &str,
        order: &TapOrder,
        addresses: Vec<SocketAddr>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<TapReport, OperateError>;

    /// Ends every stream by which a call is listened to, whoever has begun it.
    ///
    /// # Errors
    /// If there is no such call.
    fn end_taps(&self, call: &str) -> Result<TapReport, OperateError>;

    /// Calls that it can be asked to place.
    fn dials(&self) -> &dyn Dials;
}

/// Why the gateway did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// No call is named so.
    #[error("no call alive is named {0:?}; \"voxlane calls\" shows their names")]
    NoCall(String),
    /// Several are.
    #[error("{0:?} begins the names of {1} calls; write more of it")]
    Ambiguous(String, usize),
    /// It cannot be transferred as asked.
    #[error("call {0} is not transferred: {1}")]
    NotTransferred(String, String),
    /// It has no media.
    #[error("call {0} has no media open")]
    NoMedia(String),
    /// It is not relayed.
    #[error("call {0} is not relayed: an agent answers it, and that takes the worker lane")]
    NotRelayed(String),
    /// The data plane cannot.
    #[error(transparent)]
    Media(#[from] MediaError),
}
