//! Operations: what the gateway tells of itself.
//!
//! The gateway implements [`Inspect`]; everything shown of it, on the admin socket, as metrics and by the command line, is
//! made of the [`report`]s it returns.

pub mod report;
pub mod timestamp;

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
