//! `[transfer]`: how calls are transferred, and the keys of trunks and agents that say more of it.

use std::time::Duration;

use super::model::{Transfer, TransferCallerId, Trunk, TrunkTransfers};
use super::reader::{Located, Reader, Section, quoted};
use super::sections::{WrittenAgent, distinct_located, or};
use super::value;
use crate::call::transfer::{Progress, Ringing, Unreported, Way};

/// `[transfer]` as written.
pub(super) struct WrittenTransfer {
    transfer: Transfer,
    trunk: Option<Located<String>>,
}

/// Reads `[transfer]`.
pub(super) fn read(mut section: Section<'_>) -> WrittenTransfer {
    let trunk = section.text("trunk", value::name);
    let transfer = Transfer {
        trunk: trunk.as_ref().map(|trunk| trunk.value.clone()),
        by: or(section.text("by", way), Way::default),
        timeout: or(section.text("timeout", value::timeout), || Duration::from_secs(30)),
        ringing: or(section.text("ringing", ringing), Ringing::default),
        caller_id: or(section.text("caller_id", caller_id), TransferCallerId::default),
    };
    section.finish();
    WrittenTransfer { transfer, trunk }
}

/// How calls of a trunk are transferred.
pub(super) fn of_trunk(section: &mut Section<'_>) -> TrunkTransfers {
    TrunkTransfers {
        by: section.text("transfer_by", way).map(|way| way.value),
        progress: or(section.text("refer_progress", progress), Progress::default),
        unreported: or(section.text("refer_unreported", unreported), Unreported::default),
    }
}

/// Trunks that an agent may have its calls transferred to.
pub(super) fn of_agent(section: &mut Section<'_>) -> Vec<Located<String>> {
    distinct_located(section, "transfer_trunks", value::name).unwrap_or_default()
}

/// Holds what is written against the trunks there are.
pub(super) fn check(
    reader: &Reader<'_>,
    written: WrittenTransfer,
    agents: &[WrittenAgent],
    trunks: &[Trunk],
) -> Transfer {
    if let Some(trunk) = &written.trunk {
        reached(reader, "transfer.trunk", trunk, trunks, Way::Bridge);
    }
    for trunk in agents.iter().flat_map(|agent| &agent.transfer_trunks) {
        reached(reader, "agent.transfer_trunks", trunk, trunks, written.transfer.by);
    }
    written.transfer
}

/// Reports a trunk that calls cannot be sent to, unless its carrier is asked by REFER; `by` is how calls are transferred
/// where their trunk does not say.
fn reached(reader: &Reader<'_>, key: &str, name: &Located<String>, trunks: &[Trunk], by: Way) {
    let refers = |trunk: &Trunk| trunk.transfers.by.unwrap_or(by) == Way::Refer;
    let message = match trunks.iter().find(|trunk| trunk.name == name.value) {
        Some(trunk) if !trunk.gateways.is_empty() => return,
        Some(trunk) if key == "agent.transfer_trunks" && refers(trunk) => return,
        Some(_) => format!(
            "trunk {:?} has no proxy to send calls to; write proxy = \"HOST:PORT\" there",
            name.value
        ),
        None => {
            let known: Vec<&str> = trunks.iter().map(|trunk| trunk.name.as_str()).collect();
            match known.is_empty() {
                true => format!("there is no trunk {:?}; write a [[trunk]] of that name", name.value),
                false => format!("there is no trunk {:?}; there is {}", name.value, quoted(&known)),
            }
        }
    };
    reader.report(name.line, key, message);
}

fn way(text: &str) -> Result<Way, String> {
    match text {
        "bridge" => Ok(Way::Bridge),
        "refer" => Ok(Way::Refer),
        _ => Err(format!("{text:?} is unknown; write \"bridge\" or \"refer\"")),
    }
}

fn progress(text: &str) -> Result<Progress, String> {
    match text {
        "notify" => Ok(Progress::Notify),
        "none" => Ok(Progress::None),
        _ => Err(format!("{text:?} is unknown; write \"notify\" or \"none\"")),
    }
}

fn unreported(text: &str) -> Result<Unreported, String> {
    match text {
        "hang_up" => Ok(Unreported::HangUp),
        "wait" => Ok(Unreported::Wait),
        _ => Err(format!("{text:?} is unknown; write \"hang_up\" or \"wait\"")),
    }
}

fn ringing(text: &str) -> Result<Ringing, String> {
    match text {
        "agent" => Ok(Ringing::Agent),
        "ringback" => Ok(Ringing::Ringback),
        _ => Err(format!("{text:?} is unknown; write \"agent\" or \"ringback\"")),
    }
}

fn caller_id(text: &str) -> Result<TransferCallerId, String> {
    match text {
        "caller" => Ok(TransferCallerId::Caller),
        "did" => Ok(TransferCallerId::Did),
        _ => Err(format!("{text:?} is unknown; write \"caller\" or \"did\"")),
    }
}
