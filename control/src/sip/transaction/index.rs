//! What transactions are found by, in many small tables: one that grows, or clears away what was removed, keeps nobody waiting
//! for long.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Key, TransactionId};

/// How many tables. At 3,000 calls a second each has some thousand keys.
const SHARDS: usize = 256;

/// Transactions by their keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    shards: Vec<HashMap<Arc<Key>, TransactionId>>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: vec![HashMap::new(); SHARDS],
        }
    }
}

impl Index {
    /// The transaction filed under a key.
    pub fn get(&self, key: &Key) -> Option<TransactionId> {
        self.shards.get(shard(key))?.get(key).copied()
    }

    /// Files a transaction; it takes the key from one that had it.
    pub fn insert(&mut self, key: Arc<Key>, id: TransactionId) {
        if let Some(shard) = self.shards.get_mut(shard(&key)) {
            shard.insert(key, id);
        }
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &Key) {
        if let Some(shard) = self.shards.get_mut(shard(key)) {
            shard.remove(key);
        }
    }
}

/// The table of a key. Whoever makes branches that all belong to one has what there would be without tables: one.
fn shard(key: &Key) -> usize {
    let text = match key {
        Key::Client { branch, .. } | Key::Server { branch, .. } => branch,
        Key::Merged { call_id, .. } => call_id,
    };
    // FNV-1a.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash ^ (hash >> 16)) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_the_tables_and_are_found_again() {
        let key = |number: u64| {
            Arc::new(Key::Client {
                branch: format!("z9hG4bK{number}"),
                method: "BYE".to_owned(),
            })
        };
        let mut index = Index::default();
        for number in 0..10_000 {
            index.insert(key(number), TransactionId(number));
        }
        for number in 0..10_000 {
            assert_eq!(index.get(&key(number)), Some(TransactionId(number)));
        }
        let fullest = index.shards.iter().map(HashMap::len).max();
        assert!(fullest < Some(100), "{fullest:?}");
        for number in 0..10_000 {
            index.remove(&key(number));
        }
        assert!(index.shards.iter().all(HashMap::is_empty));
    }
}
