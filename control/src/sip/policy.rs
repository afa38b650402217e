//! What the dialogs of a trunk may do beyond RFC 3261, and what they have to.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::replaces;

/// Policies by the name of their trunk.
pub type Policies = HashMap<String, Policy>;

/// What the dialogs of a trunk may do beyond RFC 3261; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Session timers (RFC 4028).
    pub timers: SessionTimers,
    /// Reliable provisional responses (RFC 3262).
    #[serde(default)]
    pub reliable: Extension,
    /// INVITEs that take the place of a dialog (RFC 3891).
    #[serde(default)]
    pub replaces: Extension,
    /// REFERs of the other side (RFC 3515).
    #[serde(default)]
    pub refers: Refers,
}

/// Whether transfers by REFER are taken from the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refers {
    /// None is.
    #[default]
    Refuse,
    /// To numbers that calls of the other side could be routed to.
    Routes,
    /// To any number.
    Any,
}

/// How an extension is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extension {
    /// As if it was not known.
    #[default]
    Off,
    /// It is used where the other side has it.
    Supported,
    /// There is no call without it.
    Required,
}

/// How session timers are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTimers {
    /// Whether they are used.
    pub extension: Extension,
    /// Session interval that is asked for, seconds.
    pub expires: u32,
    /// Shortest that is accepted, seconds.
    pub least: u32,
    /// Who is to refresh, where the choice is ours.
    pub refresher: Option<Refresher>,
}

impl Default for SessionTimers {
    fn default() -> Self {
        Self {
            extension: Extension::Off,
            expires: 1800,
            least: 90,
            refresher: None,
        }
    }
}

/// Who refreshes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refresher {
    /// We do.
    Us,
    /// The other side.
    Them,
}

impl Policy {
    /// Option tags of what may be used (RFC 3261 section 20.37).
    pub fn option_tags(&self) -> Vec<&'static str> {
        let mut tags = Vec::new();
        if self.timers.extension != Extension::Off {
            tags.push("timer");
        }
        if self.reliable != Extension::Off {
            tags.push("100rel");
        }
        if self.replaces != Extension::Off {
            tags.push(replaces::TAG);
        }
        tags
    }

    /// The methods that are offered (RFC 3261 section 20.5).
    pub fn methods(&self) -> &'static str {
        match self.refers {
            Refers::Refuse => "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, NOTIFY",
            Refers::Routes | Refers::Any => "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, NOTIFY, REFER",
        }
    }

    /// What either of two allows.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let timers = match self.timers.extension >= other.timers.extension {
            true => self.timers,
            false => other.timers,
        };
        Self {
            timers,
            reliable: self.reliable.max(other.reliable),
            replaces: self.replaces.max(other.replaces),
            refers: self.refers.max(other.refers),
        }
    }
}
