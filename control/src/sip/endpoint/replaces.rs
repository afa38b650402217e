//! INVITEs that take the place of a dialog, and how a dialog of ours is named to those who send them (RFC 3891).

use super::super::api::DialogId;
use super::super::dialog::State;
use super::super::policy::{Extension, Policy};
use super::super::replaces::{Replaces, When};
use super::super::syntax::{Request, Uri};
use super::Endpoint;
use super::purpose::Refusal;

impl Endpoint {
    /// The value of a Refer-To that asks whoever gets it to take the place of the other side of a dialog that is up: that
    /// one's Contact, with a Replaces that names the dialog to it.
    pub fn refer_to_replace(&self, dialog: DialogId) -> Option<String> {
        let dialog = self.dialogs.get(dialog)?;
        match &dialog.state {
            State::Up(_) => {}
            State::Calling(_) | State::Ringing(_) | State::Ending(_) => return None,
        }
        let identity = &dialog.identity;
        let named = Replaces {
            call_id: identity.call_id.clone(),
            to_tag: identity.remote_tag.clone()?,
            from_tag: identity.local_tag.clone(),
            when: When::Any,
        };
        let target = Uri::parse(identity.target()).ok()?;
        let target = target.as_str().split('?').next()?;
        Some(format!("<{target}?{}>", named.in_uri()))
    }

    /// The dialog whose place an INVITE from this trunk is to take, if it is to take one's.
    pub(super) fn replaced(
        &self,
        request: &Request,
        trunk: Option<&str>,
        policy: &Policy,
    ) -> Result<Option<DialogId>, Refusal> {
        let named = match (policy.replaces, request.fields.replaces.as_slice()) {
            // Who does not know the header passes over it (RFC 3261 section 8.2.2).
            (Extension::Off, _) | (_, []) => return Ok(None),
            (_, [one]) => Replaces::parse(one).ok_or(Refusal::BadRequest("Malformed Replaces"))?,
            (_, [_, ..]) => return Err(Refusal::BadRequest("More Than One Replaces")),
        };
        let found = self.dialogs.find(&named.to_tag, &named.call_id);
        let (id, dialog) = found
            .and_then(|id| Some((id, self.dialogs.get(id)?)))
            .ok_or(Refusal::NoDialog)?;
        let is_theirs = match &dialog.state {
            State::Calling(calling) => {
                let of = |tag: &str| calling.forks.iter().any(|fork| fork.identity.is_from(Some(tag)));
                of(&named.from_tag)
            }
            State::Ringing(_) | State::Up(_) | State::Ending(_) => dialog.identity.is_from(Some(&named.from_tag)),
        };
        // Who knows the tags of another trunk's call is told no more than who does not.
        if !is_theirs || dialog.trunk.as_deref() != trunk {
            return Err(Refusal::NoDialog);
        }
        match (&dialog.state, named.when) {
            (State::Up(_), When::Any) => Ok(Some(id)),
            (State::Up(_), When::EarlyOnly) => Err(Refusal::Busy),
            // Not begun by us (RFC 3891 section 3).
            (State::Ringing(_), _) => Err(Refusal::NoDialog),
            // It is over, or not answered: who is called has not said that they take calls from there.
            (State::Ending(_) | State::Calling(_), _) => Err(Refusal::Decline),
        }
    }
}
