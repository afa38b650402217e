//! Who a call is from: what the caller's trunk says of that, and what the trunk it goes out on is told (RFC 3323, RFC 3325,
//! interoperability requirements I11 and I12).

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::config::model::{Asserted, Trunk, TrustIdentity, UnlistedCallerId};
use crate::sip::{Address, Incoming, Privacy};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// His number, E.164 with '+' where it is one.
    pub number: String,
    /// His name; empty for none.
    pub display: String,
    /// Whether he wants to be known.
    pub privacy: Privacy,
}

impl Caller {
    /// One with a number that is ours to show, and no wish.
    pub(super) fn known(number: &str) -> Self {
        Self {
            number: number.to_owned(),
            display: String::new(),
            privacy: Privacy::None,
        }
    }
}

/// What a leg says of who calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// From; an empty host stands for the address the INVITE is sent from.
    pub from: Address,
    /// P-Asserted-Identity, likewise.
    pub asserted: Option<Address>,
    /// Privacy.
    pub privacy: Privacy,
}

/// Who calls, as far as the trunk he comes from is believed: one that is trusted knows him by P-Asserted-Identity, and says
/// whether he wants to be known (RFC 3325 section 7).
pub fn caller(trunk: &Trunk, call: &Incoming) -> Caller {
    let asserted = match trunk.trust_identity {
        TrustIdentity::On => call.asserted.as_ref(),
        TrustIdentity::Off => None,
    };
    let known = asserted.unwrap_or(&call.from);
    Caller {
        number: trunk.numbers.e164(&known.user),
        display: known.display.clone(),
        privacy: match is_anonymous(&call.from) {
            true => Privacy::Id,
            false => call.privacy,
        },
    }
}

/// What a leg on a trunk says of who calls. `shown` is a number that the DID says is to be shown.
///
/// # Errors
/// 403: the caller's number is not one that the trunk may show, and may not be replaced.
pub fn on_trunk(trunk: &Trunk, caller: &Caller, shown: Option<&str>) -> Result<Identity, Refusal> {
    let number = match shown {
        Some(number) => number.to_owned(),
        None => permitted(trunk, &caller.number)?,
    };
    let own = number == caller.number;
    let known = Address {
        // A name goes with the number it belongs to.
        display: if own { caller.display.clone() } else { String::new() },
        user: number,
        host: String::new(),
        port: None,
    };
    let asserted = match &trunk.asserted_identity {
        Asserted::Off => None,
        // Who is not known cannot be vouched for.
        Asserted::Caller => Some(known.clone()).filter(|known| known.user.starts_with('+')),
        Asserted::Number(number) => Some(Address {
            display: String::new(),
            user: number.clone(),
            ..known.clone()
        }),
    };
    // A number that is the trunk's own hides the caller already.
    let privacy = match own {
        true => caller.privacy,
        false => Privacy::None,
    };
    Ok(Identity {
        from: match privacy {
            Privacy::Id => anonymous(),
            Privacy::None => known,
        },
        asserted,
        privacy,
    })
}

/// A number that the trunk may show: the caller's own, else the first that it may, if that is allowed.
fn permitted(trunk: &Trunk, own: &str) -> Result<String, Refusal> {
    match (trunk.caller_ids.first(), trunk.unlisted_caller_id) {
        (None, _) => Ok(own.to_owned()),
        (Some(_), _) if trunk.caller_ids.iter().any(|id| id == own) => Ok(own.to_owned()),
        (Some(first), UnlistedCallerId::Replace) => Ok(first.clone()),
        (Some(_), UnlistedCallerId::Refuse) => Err(Refusal::new(
            403,
            format!("{own} is not among the caller_ids of trunk {}", trunk.name),
        )),
    }
}

/// RFC 3323 section 4.1.1.3.
fn anonymous() -> Address {
    Address {
        display: "Anonymous".to_owned(),
        user: "anonymous".to_owned(),
        host: "anonymous.invalid".to_owned(),
        port: None,
    }
}

fn is_anonymous(from: &Address) -> bool {
    from.user.eq_ignore_ascii_case("anonymous") || from.host.eq_ignore_ascii_case("anonymous.invalid")
}
