//! Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3).

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Client, ClientInvite, Server, ServerInvite, TransactionId};
use crate::sip::api::DialogId;
use crate::sip::syntax::via::MAGIC_COOKIE;
use crate::sip::syntax::{Method, Request, Response};

/// What identifies a transaction in a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Key {
    /// Ours: the branch we made. A CANCEL has its INVITE's.
    Client {
        /// Branch.
        branch: String,
        /// Method.
        method: String,
    },
    /// Theirs: branch, sent-by and method, where an ACK belongs to its INVITE.
    Server {
        /// Branch; for a sender of RFC 2543, what stood in its place.
        branch: String,
        /// Host of the topmost Via.
        host: String,
        /// Port of the topmost Via.
        port: u16,
        /// Method.
        method: String,
    },
    /// The same request by another way (RFC 3261 section 8.2.2.2): From tag, Call-ID, CSeq.
    Merged {
        /// From tag.
        from_tag: String,
        /// Call-ID.
        call_id: String,
        /// CSeq number.
        cseq: u32,
        /// Method.
        method: String,
    },
}

impl Key {
    /// The key of a request as the server sees it. `method` differs from the request's for what a CANCEL or ACK aims at.
    pub fn server(request: &Request, method: &str) -> Self {
        let (host, port) = request.via.sent_by();
        let branch = match request.via.branch() {
            Some(branch) if branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE) => branch.to_owned(),
            // RFC 3261 section 17.2.3, less the To tag, which the ACK to a refusal has and its INVITE has not.
            branch => format!(
                "{} {} {} {} {}",
                branch.unwrap_or(""),
                request.call_id,
                request.cseq,
                request.from.tag().unwrap_or(""),
                request.uri.as_str(),
            ),
        };
        Self::Server {
            branch,
            host: host.to_ascii_lowercase(),
            port,
            method: method.to_owned(),
        }
    }

    /// The key by which a request outside a dialog is recognised when it comes by another way.
    pub fn merged(request: &Request) -> Self {
        Self::Merged {
            from_tag: request.from.tag().unwrap_or("").to_owned(),
            call_id: request.call_id.clone(),
            cseq: request.cseq,
            method: request.method_text.clone(),
        }
    }

    /// The key of our transaction a response answers.
    pub fn client(response: &Response) -> Option<Self> {
        let method = match &response.method {
            Method::Known(method) => method.to_string(),
            Method::Unknown(_) => return None,
        };
        Some(Self::Client {
            branch: response.via.branch()?.to_owned(),
            method,
        })
    }
}

/// Any transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Transaction {
    /// Our INVITE.
    ClientInvite(ClientInvite),
    /// Our BYE or CANCEL.
    Client(Client),
    /// Their INVITE.
    ServerInvite(ServerInvite),
    /// Any other request of theirs.
    Server(Server),
}

/// A transaction and what it is filed under.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The state machine.
    pub transaction: Transaction,
    /// The dialog it works for, if that is to hear of it.
    pub dialog: Option<DialogId>,
    keys: Vec<Key>,
    remote: Option<SocketAddr>,
}

/// All transactions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Transactions {
    entries: HashMap<TransactionId, Entry>,
    index: HashMap<Key, TransactionId>,
    waiting: BTreeSet<(SocketAddr, TransactionId)>,
    made: u64,
}

impl Transactions {
    /// A name for a transaction about to be started.
    pub fn next_id(&mut self) -> TransactionId {
        self.made += 1;
        TransactionId(self.made)
    }

    /// Files a transaction. `remote` is where a client transaction's request went: it is to hear if that is unreachable.
    pub fn insert(
        &mut self,
        id: TransactionId,
        transaction: Transaction,
        dialog: Option<DialogId>,
        keys: Vec<Key>,
        remote: Option<SocketAddr>,
    ) {
        for key in &keys {
            self.index.insert(key.clone(), id);
        }
        if let Some(remote) = remote {
            self.waiting.insert((remote, id));
        }
        self.entries.insert(
            id,
            Entry {
                transaction,
                dialog,
                keys,
                remote,
            },
        );
    }

    /// The transaction filed under a key.
    pub fn find(&self, key: &Key) -> Option<TransactionId> {
        self.index.get(key).copied()
    }

    /// A transaction.
    pub fn get(&self, id: TransactionId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// A transaction, to be told something.
    pub fn get_mut(&mut self, id: TransactionId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// Client transactions whose request went to this address.
    pub fn sent_to(&self, remote: SocketAddr) -> Vec<TransactionId> {
        let all = (remote, TransactionId(0))..=(remote, TransactionId(u64::MAX));
        self.waiting.range(all).map(|(_, id)| *id).collect()
    }

    /// Forgets a transaction.
    pub fn remove(&mut self, id: TransactionId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        for key in &entry.keys {
            // A key may have passed to a later transaction.
            if self.index.get(key) == Some(&id) {
                self.index.remove(key);
            }
        }
        if let Some(remote) = entry.remote {
            self.waiting.remove(&(remote, id));
        }
        Some(entry)
    }

    /// How many are alive.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
