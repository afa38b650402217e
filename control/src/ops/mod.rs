//! Operations: what the gateway tells of itself.
//!
//! The gateway implements [`Inspect`]; everything shown of it is made of the [`report`]s it returns:
//!
//! - [`server`]: HTTP on the admin socket (`/v1/status`, `/v1/calls`, `/v1/flows`, `/metrics`), metrics also over TCP;
//! - [`metrics`]: the reports as Prometheus text, computed when they are asked for;
//! - [`client`]: asks the admin socket, for the command line;
//! - [`socket`]: the life of the socket file;
//! - [`words`]: lanes, reasons and modes as labels and as sentences.

pub mod client;
pub mod metrics;
pub mod report;
pub mod server;
pub mod socket;
pub mod timestamp;
pub mod words;

use report::{CallsReport, FlowsReport, StatusReport};

/// What the gateway can be asked. Called from the admin server's tasks; must return at once.
pub trait Inspect: Send + Sync {
    /// The gateway as a whole.
    fn status(&self) -> StatusReport;

    /// Calls: those alive and the last 100 that ended.
    fn calls(&self) -> CallsReport;

    /// Every flow of the data plane.
    fn flows(&self) -> FlowsReport;
}
