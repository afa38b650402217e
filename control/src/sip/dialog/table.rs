//! Which dialog a request belongs to (RFC 3261 section 12.2.2).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Dialog;
use crate::sip::api::DialogId;

/// All dialogs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Dialogs {
    dialogs: BTreeMap<DialogId, Box<Dialog>>,
    by_local_tag: HashMap<String, DialogId>,
    made: u64,
}

impl Dialogs {
    /// A name for a dialog about to begin.
    pub fn next_id(&mut self) -> DialogId {
        self.made += 1;
        DialogId(self.made)
    }

    /// Files a dialog, to be found by its local tag.
    pub fn insert(&mut self, id: DialogId, dialog: Dialog) {
        self.by_local_tag.insert(dialog.identity.local_tag.clone(), id);
        self.dialogs.insert(id, Box::new(dialog));
    }

    /// Files a dialog that is only waiting for the answer to its BYE: another fork of a call that has our tag already.
    pub fn insert_unlisted(&mut self, id: DialogId, dialog: Dialog) {
        self.dialogs.insert(id, Box::new(dialog));
    }

    /// The dialog with our tag and this Call-ID. Whether the other side's tag fits is for the caller to see.
    pub fn find(&self, local_tag: &str, call_id: &str) -> Option<DialogId> {
        let id = self.by_local_tag.get(local_tag)?;
        self.dialogs
            .get(id)
            .filter(|dialog| dialog.identity.call_id == call_id)?;
        Some(*id)
    }

    /// A dialog.
    pub fn get(&self, id: DialogId) -> Option<&Dialog> {
        self.dialogs.get(&id).map(Box::as_ref)
    }

    /// A dialog, to be changed.
    pub fn get_mut(&mut self, id: DialogId) -> Option<&mut Dialog> {
        self.dialogs.get_mut(&id).map(Box::as_mut)
    }

    /// Forgets a dialog.
    pub fn remove(&mut self, id: DialogId) -> Option<Dialog> {
        let dialog = self.dialogs.remove(&id)?;
        if self.by_local_tag.get(&dialog.identity.local_tag) == Some(&id) {
            self.by_local_tag.remove(&dialog.identity.local_tag);
        }
        Some(*dialog)
    }

    /// How many are alive.
    pub fn len(&self) -> usize {
        self.dialogs.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.dialogs.is_empty()
    }
}
